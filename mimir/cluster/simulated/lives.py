"""Pods that come and go, for the loops that play calls: who serves, when connections end, what is cut off."""

from __future__ import annotations

from mimir.capture.batch import ACK, FIN, RST, SYN
from mimir.cluster.simulated.segments import emit
from mimir.cluster.simulated.tables import (
    ASKED,
    DELAY,
    DONE,
    FOREVER_NS,
    NO_LOSS,
    REPLIED,
    SERVER,
    Channel,
    Ints,
    Record,
    Rows,
)  # fmt: skip
from mimir.jit import kernel
from mimir.load.draws import State, below

_REFUSED_NS = 60_000  # until the node says that nobody serves
_AHEAD_NS = 10_000_000_000  # so long before a pod goes, what `moves` goes elsewhere


@kernel(allocates=True)
def serving(ch: Channel, ts: int, random: State) -> int:
    """One of the server rows that are ready at a time, or -1."""
    ready = 0
    for s in range(len(ch.server_ip)):
        if ch.server_ready[s] <= ts and ts < ch.server_leave[s]:
            ready += 1
    if ready == 0:
        return -1
    left = below(random, ready)
    for s in range(len(ch.server_ip)):
        if ch.server_ready[s] <= ts and ts < ch.server_leave[s]:
            if left == 0:
                return s
            left -= 1
    return -1


@kernel(allocates=True)
def instead(since: Ints, until: Ints, number: int, ts: int) -> int:
    """`number` if it is there at a time and stays, else the next one that is."""
    for k in range(len(since)):
        other = (number + k) % len(since)
        if since[other] <= ts and ts + _AHEAD_NS < until[other]:
            return other
    return number


@kernel(allocates=True)
def over(ch: Channel, row: int, c: Record) -> tuple[int, bool]:
    """When a connection ends if nothing more is asked, and whether its client ends it: idle, or a pod leaves."""
    at = c.free + ch.idle_ns if ch.idle_ns > 0 else FOREVER_NS
    client = ch.client_closes == 1
    if max(ch.server_leave[c.server], c.free) < at:
        at, client = max(ch.server_leave[c.server], c.free), False
    if max(ch.client_gone[row], c.free) < at:
        at, client = max(ch.client_gone[row], c.free), True
    return at, client


@kernel(allocates=True)
def cut(out: Rows, first: int, used: int, c: Record, client: bool, gone_ns: int, before: tuple[int, int]) -> int:
    """An end is gone in the middle of an exchange (rows from `first` on): its RST is the last packet there is.

    `before` are the sequence numbers of both ends when the exchange began.
    """
    kept, sent, heard = first, before[0] if client else before[1], before[1] if client else before[0]
    for i in range(first, used):
        p = out[i]
        if p.ts >= gone_ns:
            continue
        by_client = (p.src == c.a_src or p.src == c.b_src) and p.sport == c.a_sport
        after = (int(p.seq) + int(p.payload) + (1 if p.flags & (SYN | FIN) else 0)) & 0xFFFFFFFF
        if by_client == client:
            sent = after
        elif p.ifindex == (c.a_if if client else c.b_if):
            heard = after
        out[kept] = out[i]
        kept += 1
    c.client_seq, c.server_seq = (sent, heard) if client else (heard, sent)
    c.client_last = c.server_last = gone_ns - 1
    if kept > first or c.exchanges > 1:
        kept, _ = emit(out, kept, c, client, gone_ns, RST | ACK, 0, NO_LOSS)
    c.live = 0
    return kept


@kernel(allocates=True)
def refuse(out: Rows, used: int, c: Record, ts: int) -> int:
    """Nobody serves: the node answers the SYN with RST; nothing is seen beside a server."""
    c.b_if, c.hop, c.server_seq = -1, 0, 0
    used, _ = emit(out, used, c, True, ts, SYN, 0, NO_LOSS)
    used, _ = emit(out, used, c, False, ts + _REFUSED_NS, RST | ACK, 0, NO_LOSS)
    c.live = 0
    return used


@kernel(allocates=True)
def drop(call: Ints, ts: int) -> None:
    """A call that nobody makes or nobody serves: no time passes, no server."""
    call[ASKED] = call[REPLIED] = call[DONE] = ts
    call[DELAY], call[SERVER] = 0, -1
