"""TCP segments of one connection as the node sees them: set-up, messages with acknowledgements, end.

All functions fill `out` (PACKET rows) from `used` on, keep the connection's counters, and return the new `used`. A
packet is seen first beside its sender, and `hop` later beside its receiver. Ends send in order: `*_last` is when each
sent last.
"""

from __future__ import annotations

from mimir.capture.batch import ACK, FIN, FROM_US, PSH, SYN, TCP, TO_US
from mimir.cluster.simulated.tables import LOST_BETWEEN, NO_LOSS, Record, Rows, Transport
from mimir.jit import kernel
from mimir.load.draws import State, uniform

_IP_TCP, _SYN_OPTIONS, _OPTIONS = 40, 20, 12
_STEP_NS = 1_200  # between two segments in a row: one full frame at 10 Gb/s
IN_TURN_NS = 2_000  # an end's own next packet, after it has sent one


@kernel(allocates=True)
def _seen(
    out: Rows, used: int, c: Record, client: bool, at_a: bool, ts: int, flags: int, payload: int, ident: int
) -> int:
    """One packet at one place; nothing where the connection is not seen."""
    if (c.a_if if at_a else c.b_if) < 0:
        return used
    p = out[used]
    p.ts = ts
    src, dst = (c.a_src, c.a_dst) if at_a else (c.b_src, c.b_dst)
    sport, dport = (c.a_sport, c.a_dport) if at_a else (c.b_sport, c.b_dport)
    p.src, p.dst = (src, dst) if client else (dst, src)
    p.sport, p.dport = (sport, dport) if client else (dport, sport)
    p.seq, p.ack = (c.client_seq, c.server_seq) if client else (c.server_seq, c.client_seq)
    if not flags & ACK:
        p.ack = 0
    p.ifindex = c.a_if if at_a else c.b_if
    p.direction = TO_US if client == at_a else FROM_US
    p.flags = flags
    p.payload = payload
    p.ip_bytes = _IP_TCP + payload + (_SYN_OPTIONS if flags & SYN else _OPTIONS)
    p.ip_id = ident
    p.proto = TCP
    p.message = -1
    return used + 1


@kernel(allocates=True)
def emit(
    out: Rows, used: int, c: Record, client: bool, ts: int, flags: int, payload: int, lost: int
) -> tuple[int, int]:
    """One packet from the client or the server, seen at both places. Returns (used, when it passes the second place).

    A packet `lost` between the places is seen once and one lost beyond twice; neither counts as sent: it comes again.
    """
    if client:
        ts = max(ts, c.client_last + 1)
        c.client_last = ts
        ident = c.client_id
        c.client_id += 1
    else:
        ts = max(ts, c.server_last + 1)
        c.server_last = ts
        ident = c.server_id
        c.server_id += 1
    used = _seen(out, used, c, client, client, ts, flags, payload, ident)
    if lost != LOST_BETWEEN:
        used = _seen(out, used, c, client, not client, ts + c.hop, flags, payload, ident)
    if lost == NO_LOSS:
        step = payload + (1 if flags & (SYN | FIN) else 0)
        if client:
            c.client_seq += step
        else:
            c.server_seq += step
    return used, ts + c.hop


@kernel(allocates=True)
def open_connection(out: Rows, used: int, c: Record, ts: int) -> tuple[int, int]:
    """Three-way handshake begun at `ts`. Returns (used, when the client may send)."""
    used, at_server = emit(out, used, c, True, ts, SYN, 0, NO_LOSS)
    used, at_client = emit(out, used, c, False, at_server + c.server_turn, SYN | ACK, 0, NO_LOSS)
    used, _ = emit(out, used, c, True, at_client + c.client_turn, ACK, 0, NO_LOSS)
    return used, c.client_last + IN_TURN_NS


@kernel(allocates=True)
def close_connection(out: Rows, used: int, c: Record, client: bool, ts: int) -> int:
    """FIN from one end, FIN from the other, last acknowledgement."""
    used, there = emit(out, used, c, client, ts, FIN | ACK, 0, NO_LOSS)
    turn, back = (c.server_turn, c.client_turn) if client else (c.client_turn, c.server_turn)
    used, here = emit(out, used, c, not client, there + turn, FIN | ACK, 0, NO_LOSS)
    used, _ = emit(out, used, c, client, here + back, ACK, 0, NO_LOSS)
    c.live = 0
    return used


@kernel(allocates=True)
def send(
    out: Rows, used: int, c: Record, client: bool, ts: int, size: int, tcp: Transport, random: State
) -> tuple[int, int, bool]:
    """A message of `size` bytes in frames, every second segment acknowledged; the window doubles each round trip.

    A frame holds as many segments as offloading lets pass in one piece (`offload_bytes`), within the window.
    Returns (used, when the last segment reaches the receiver's place, whether that one is still to be acknowledged).
    """
    turn, back = (c.server_turn, c.client_turn) if client else (c.client_turn, c.server_turn)
    loss = c.client_loss if client else c.server_loss
    lost = loss if loss != NO_LOSS and tcp.loss > 0.0 and uniform(random) < tcp.loss else NO_LOSS
    window, in_round, round_ns, arrival = tcp.initial_window, 0, ts, ts
    unheard = 0
    while size > 0:
        if in_round >= window:
            ts = max(ts, round_ns + 2 * c.hop + turn + back)
            in_round, round_ns, window = 0, ts, min(2 * window, tcp.max_window)
        payload = min(size, max(tcp.offload_bytes, tcp.segment_bytes), (window - in_round) * tcp.segment_bytes)
        segments = (payload + tcp.segment_bytes - 1) // tcp.segment_bytes
        size -= payload
        flags = ACK if size > 0 else ACK | PSH
        if size == 0 and lost != NO_LOSS:
            used, _ = emit(out, used, c, client, ts, flags, payload, lost)
            ts += tcp.retransmit_ns
        used, arrival = emit(out, used, c, client, ts, flags, payload, NO_LOSS)
        ts = (c.client_last if client else c.server_last) + _STEP_NS * segments
        in_round += segments
        unheard += segments
        if unheard > 1 and size > 0:
            used, _ = emit(out, used, c, not client, arrival + turn, ACK, 0, NO_LOSS)
            unheard = 0
    if unheard != 1 and arrival >= 0:
        used, _ = emit(out, used, c, not client, arrival + turn, ACK, 0, NO_LOSS)
    return used, arrival, unheard == 1
