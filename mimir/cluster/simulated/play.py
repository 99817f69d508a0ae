"""Calls of one channel → connections → packets: which connection a call takes, when it opens and closes."""

from __future__ import annotations

import numpy as np

from mimir.capture.batch import ACK
from mimir.cluster.simulated.lives import cut, drop, instead, over, refuse, serving
from mimir.cluster.simulated.segments import IN_TURN_NS, close_connection, emit, open_connection, send
from mimir.cluster.simulated.tables import (
    ASKED,
    CALLER,
    CLIENT,
    DELAY,
    DONE,
    DURATION,
    KEPT,
    LAST,
    NO_LOSS,
    PARENT,
    PIN,
    PUSHED,
    REPLIED,
    REQUEST,
    RESPONSE,
    SERVER,
    SHARED,
    START,
    Channel,
    Ints,
    Record,
    Rows,
    Transport,
)  # fmt: skip
from mimir.jit import kernel
from mimir.load.draws import State, below, between, lognormal

_PORTS, _FIRST_PORT = 28_232, 32_768  # Linux' ephemeral ports
LEAST_TURN_NS = 20_000  # no server answers faster


@kernel(allocates=True)
def _new(c: Record, ch: Channel, row: int, server: int, ports: Ints, tcp: Transport, random: State) -> None:
    """Fill a connection record: addresses at both places, sequence numbers, delays."""
    ports[row] = (ports[row] + 1 + below(random, 3)) % _PORTS
    port = _FIRST_PORT + ports[row]
    c.a_src, c.a_sport = ch.client_ip[row], port
    c.a_dst = ch.service_ip if ch.service_ip else ch.server_ip[server]
    c.a_dport = ch.service_port
    c.a_if = ch.client_if[row]
    c.b_src, c.b_sport = ch.masquerade_ip if ch.masquerade_ip else ch.client_ip[row], port
    c.b_dst, c.b_dport = ch.server_ip[server], ch.target_port
    c.b_if = ch.server_if[server]
    c.client_seq, c.server_seq = below(random, 1 << 32), below(random, 1 << 32)
    c.client_id, c.server_id = below(random, 1 << 16), below(random, 1 << 16)
    c.client_loss, c.server_loss = ch.client_loss, ch.server_loss
    c.hop = int(between(random, tcp.copy_low_ns, tcp.copy_high_ns)) if c.a_if >= 0 and c.b_if >= 0 else 0
    turn = ch.client_turn[row]
    c.client_turn = turn if turn else int(lognormal(random, tcp.turn_log_ns, tcp.turn_sigma))
    turn = ch.server_turn[server]
    c.server_turn = turn if turn else int(lognormal(random, tcp.turn_log_ns, tcp.turn_sigma))
    c.client_last = c.server_last = c.free = c.pending = c.exchanges = 0
    c.server, c.live = server, 1


@kernel(allocates=True)
def _acknowledge(out: Rows, used: int, c: Record, before_ns: int) -> int:
    """The client's delayed acknowledgement, if it is due before `before_ns`; otherwise what comes next carries it."""
    if 0 < c.pending < before_ns:
        used, _ = emit(out, used, c, True, c.pending, ACK, 0, NO_LOSS)
        c.pending = 0
    return used


@kernel(allocates=True)
def _end(out: Rows, used: int, c: Record, client: bool, ts: int) -> int:
    used = _acknowledge(out, used, c, ts)
    c.pending = 0
    return close_connection(out, used, c, client, ts)


@kernel(allocates=True)
def _pick(out: Rows, used: int, pool: Rows, ch: Channel, row: int, ts: int, owner: int) -> tuple[int, int]:
    """The free connection used last, or -1 - (an empty place), or -1 - len(pool) when all are busy. Closes old ones.

    Where each caller has a connection of its own, it is the one of `owner`.
    """
    best, room = -1, len(pool)
    for k in range(len(pool)):
        c = pool[k]
        if c.live:
            end_ns, by_client = over(ch, row, c)
            if end_ns <= ts or ch.server_leave[c.server] <= ts:
                used = _end(out, used, c, by_client, end_ns)
        if not c.live:
            room = min(room, k)
        elif ch.policy == CALLER:
            best = k if c.owner == owner else best
        elif (c.free <= ts or ch.policy == SHARED) and (best < 0 or c.free > pool[best].free):
            best = k
    return used, best if best >= 0 else -1 - room


@kernel(allocates=True)
def _exchange(out: Rows, used: int, c: Record, call: Ints, ts: int, ch: Channel, tcp: Transport, random: State) -> int:
    """Request and reply (the other way round where replies are pushed) of one call, from `ts` on at the earliest."""
    pushed = call[PUSHED] == 1
    quick = c.exchanges < tcp.quick_acks
    first, second = (call[RESPONSE], call[REQUEST]) if pushed else (call[REQUEST], call[RESPONSE])
    arrival, odd = ts, False
    if first > 0:
        used, arrival, odd = send(out, used, c, not pushed, ts, first, tcp, random)
    turn = c.client_turn if pushed else c.server_turn
    call[DELAY] = max(0, arrival - call[START] - ch.overhead_ns)
    reply = max(call[START] + ch.overhead_ns + call[DURATION] + call[DELAY], arrival + LEAST_TURN_NS)
    if odd and (quick or reply - arrival > tcp.delayed_ack_ns):
        wait = turn if quick else tcp.delayed_ack_ns
        used, _ = emit(out, used, c, pushed, arrival + wait, ACK, 0, NO_LOSS)
        reply = max(reply, arrival + wait + IN_TURN_NS)
    call[ASKED], call[REPLIED] = arrival, reply
    odd = False
    done = reply
    if second > 0:
        used, done, odd = send(out, used, c, pushed, reply, second, tcp, random)
    c.pending = 0
    c.free = done + (c.server_turn if pushed else c.client_turn)
    if odd and (quick or pushed):
        used, _ = emit(out, used, c, not pushed, c.free, ACK, 0, NO_LOSS)
    elif odd:
        c.pending = done + tcp.delayed_ack_ns
    c.free += IN_TURN_NS
    c.exchanges += 1
    call[DONE], call[SERVER] = done, c.server
    return used


@kernel(allocates=True)
def packets_at_most(requests: Ints, segment_bytes: int) -> int:
    """Packets that calls with these payload bytes (n, 2) can need: segments, their acknowledgements, set-up, end, copies."""
    total = 0
    for i in range(len(requests)):
        for k in range(2):
            total += 3 * (requests[i, k] // segment_bytes + 1) // 2 + 3
    return 2 * (total + 10 * len(requests))


@kernel(allocates=True)
def play(
    out: Rows,
    used: int,
    calls: Ints,
    order: Ints,
    ch: Channel,
    pools: Rows,
    ports: Ints,
    known: Ints,
    lookups: Ints,
    tcp: Transport,
    random: State,
) -> tuple[int, int]:
    """Play the calls `order` (rows of `calls`, by START) on `pools` (client rows, places), filling `out` from `used`.

    `known[row]` is until when a client row remembers the server's address; look-ups needed are written to `lookups`
    (time, row). Fills DELAY, ASKED, REPLIED, DONE, SERVER of the calls. Returns (used, number of look-ups).
    """
    looked = 0
    spare = np.zeros(1, dtype=pools.dtype)
    for i in order:
        call = calls[i]
        row, ts, pin = call[CLIENT], call[START], call[PIN]
        if ch.moves:
            row = instead(ch.client_from, ch.client_gone, row, ts)
            pin = instead(ch.server_ready, ch.server_leave, pin, ts) if pin >= 0 else pin
        if row < 0 or ts < ch.client_from[row] or ch.client_gone[row] <= ts or (pin >= 0 and ch.server_gone[pin] <= ts):
            drop(call, ts)
            continue
        place = -1 - pools.shape[1]
        if ch.policy >= KEPT:
            used, place = _pick(out, used, pools[row], ch, row, ts, call[PARENT])
        passing = place == -1 - pools.shape[1]
        c = spare[0] if passing else pools[row, place if place >= 0 else -1 - place]
        first = used
        if place < 0:
            if ch.name >= 0 and known[row] <= ts:
                lookups[looked, 0], lookups[looked, 1] = ts, row
                looked += 1
                known[row] = ts + ch.name_cache_ns
                ts += ch.name_wait_ns
            server = pin if pin >= 0 else serving(ch, ts, random)
            _new(c, ch, row, max(server, 0), ports, tcp, random)
            if server < 0:
                used = refuse(out, used, c, ts)
                drop(call, ts)
                continue
            c.owner = call[PARENT]
            before = (int(c.client_seq), int(c.server_seq))
            used, ts = open_connection(out, used, c, ts)
        else:
            ts = max(ts, c.free)
            used = _acknowledge(out, used, c, ts)
            before = (int(c.client_seq), int(c.server_seq))
        used = _exchange(out, used, c, call, ts, ch, tcp, random)
        gone_ns = min(ch.client_gone[row], ch.server_gone[c.server])
        if c.free >= gone_ns:
            used = cut(out, first, used, c, ch.client_gone[row] == gone_ns, gone_ns, before)
        elif passing or call[LAST]:
            by_client = ch.client_closes == 1 or call[LAST] == 1
            at = c.free if by_client else max(c.server_last + IN_TURN_NS, call[DONE] - c.hop + IN_TURN_NS)
            used = _end(out, used, c, by_client, at)
    return used, looked


@kernel(allocates=True)
def sweep(out: Rows, used: int, ch: Channel, pools: Rows, until_ns: int) -> int:
    """End of a time slice: acknowledgements that are due, connections that were idle for too long."""
    for row in range(pools.shape[0]):
        for k in range(pools.shape[1]):
            c = pools[row, k]
            if not c.live:
                continue
            end_ns, by_client = over(ch, row, c)
            used = _acknowledge(out, used, c, min(end_ns, until_ns))
            if end_ns < until_ns:
                used = _end(out, used, c, by_client, end_ns)
    return used
