"""The connection kernel: packets → what each connection did in each base window.

Client and server are decided by SYN, then by a known listening port (services, ports that answered a SYN, then the
side outside the ephemeral range while the other is inside), then by who sent the first packet.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mimir.capture.batch import ACK, FIN, RST, SYN, PacketBatch
from mimir.capture.dns import query_of
from mimir.capture.jit import kernel
from mimir.flows.hashing import address_number, hash_tuple, known_bits, learn
from mimir.flows.legs import link
from mimir.flows.table import (
    ADDRESSES,
    ANSWERED,
    BY_INTERFACE,
    CONNECTIONS,
    COPY_BYTES,
    COPY_PACKETS,
    DEAD,
    FIN_A,
    FIN_B,
    FIRST_FROM_CLIENT,
    FREE,
    LISTENER,
    NOT_A_COPY,
    RESET,
    ROWS,
    SERIAL,
    SYN_SEEN,
    WATERMARK_NS,
    Table,
)

TCP, UDP = 6, 17
#: packets may come this much out of order without any effect on time-outs
REORDER_NS = 2_000_000_000
#: how long a closed connection still takes stray packets, and an unanswered SYN waits
CLOSED_NS, UNANSWERED_NS = 10_000_000_000, 30_000_000_000
#: a tuple's counted interface may change after this silence (a route changed)
INTERFACE_SILENCE_NS = 1_000_000_000
EPHEMERAL = 32_768
DONE, CONNECTIONS_FULL, ROWS_FULL, ADDRESSES_FULL = range(4)


class Packets(NamedTuple):
    """The columns of a batch that the kernel reads."""

    ts_ns: NDArray[np.int64]
    src: NDArray[np.uint64]
    dst: NDArray[np.uint64]
    proto: NDArray[np.uint8]
    sport: NDArray[np.uint16]
    dport: NDArray[np.uint16]
    ip_bytes: NDArray[np.uint32]
    payload_bytes: NDArray[np.uint32]
    tcp_flags: NDArray[np.uint8]
    tcp_seq: NDArray[np.uint32]
    tcp_ack: NDArray[np.uint32]
    ip_id: NDArray[np.uint16]
    ifindex: NDArray[np.int32]
    direction: NDArray[np.uint8]
    dns_offset: NDArray[np.int64]
    dns_bytes: NDArray[np.uint16]
    data: NDArray[np.uint8]


def columns(batch: PacketBatch) -> Packets:
    """Contiguous columns, so that one machine code serves every source."""
    return Packets(*(np.ascontiguousarray(getattr(batch, name)) for name in Packets._fields))


@kernel
def find(
    table: Table, a_high: np.uint64, a_low: np.uint64, b_high: np.uint64, b_low: np.uint64, ports: np.uint64
) -> int:
    """Slot of a tuple, or the empty slot where it belongs."""
    slots, known = table.slots, table.connections
    mask = len(slots) - 1
    at = np.int64(hash_tuple(a_high, a_low, b_high, b_low, ports) & np.uint64(mask))
    while slots[at] >= 0:
        c = known[slots[at]]
        if (
            c.a_low == a_low
            and c.b_low == b_low
            and c.a_high == a_high
            and c.b_high == b_high
            and key_ports(c) == ports
        ):
            return at
        at = (at + 1) & mask
    return at


@kernel
def key_ports(c: np.void) -> np.uint64:
    """Both ports and the protocol of a connection in one number."""
    return (np.uint64(c.a_port) << np.uint64(24)) | (np.uint64(c.b_port) << np.uint64(8)) | np.uint64(c.proto)


@kernel
def rebuild(table: Table) -> None:
    """Fill empty slots with the living connections."""
    free = table.meta[FREE]
    unused = np.zeros(len(table.connections), np.bool_)
    for i in range(free):
        unused[table.free[i]] = True
    for k in range(len(unused)):
        c = table.connections[k]
        if not unused[k] and not c.state & DEAD:
            table.slots[find(table, c.a_high, c.a_low, c.b_high, c.b_low, key_ports(c))] = k


@kernel
def expired(c: np.void, now: int, timeout_ns: int) -> bool:
    """Has a connection been silent for too long to go on?"""
    idle = now - c.last_ns
    if c.proto == TCP:
        if c.state & RESET or (c.state & FIN_A and c.state & FIN_B):
            return idle > min(CLOSED_NS, timeout_ns)
        if not c.state & ANSWERED and c.state & SYN_SEEN:
            return idle > min(UNANSWERED_NS, timeout_ns)
    return idle > timeout_ns


@kernel
def client_token(p: Packets, i: int, from_client: bool) -> np.uint32:
    """What the legs of one connection have in common in their first packet."""
    if p.proto[i] == TCP:
        if from_client:
            return p.tcp_seq[i]
        return np.uint32(np.int64(p.tcp_ack[i]) - (1 if p.tcp_flags[i] & SYN else 0))
    return np.uint32((np.int64(p.ip_id[i]) << 16) | (np.int64(p.payload_bytes[i]) & 0xFFFF))


@kernel
def begins_anew(p: Packets, i: int, c: np.void, from_b: bool) -> bool:
    """Is a SYN the start of another connection with the same tuple?"""
    if p.proto[i] != TCP or p.tcp_flags[i] & (SYN | ACK | RST) != SYN:
        return False
    same_side = from_b == (c.client_is_b != 0)
    return not (same_side and c.state & SYN_SEEN and p.tcp_seq[i] == c.token)


@kernel
def sender_is_client(table: Table, p: Packets, i: int) -> bool:
    """Who asks? See the module's text for the order of rules."""
    if p.proto[i] == TCP and p.tcp_flags[i] & SYN:
        return not p.tcp_flags[i] & ACK
    sport, dport = np.int64(p.sport[i]), np.int64(p.dport[i])
    if sport == 0 and dport == 0:
        return True
    src_listens = known_bits(table.endpoints, p.src[i, 0], p.src[i, 1], sport) & LISTENER
    dst_listens = known_bits(table.endpoints, p.dst[i, 0], p.dst[i, 1], dport) & LISTENER
    if src_listens != dst_listens:
        return dst_listens != 0
    if (sport < EPHEMERAL) != (dport < EPHEMERAL):
        return dport < EPHEMERAL
    return True


@kernel
def spot(p: Packets, i: int) -> int:
    """Interface and direction as one number; -1 when the capture says neither."""
    if p.ifindex[i] < 0 and p.direction[i] == 255:
        return -1
    return ((np.int64(p.ifindex[i]) + 1) << 8) | np.int64(p.direction[i])


@kernel
def open_connection(table: Table, p: Packets, i: int, slot: int, from_b: bool) -> int:
    """Take an unused connection for packet `i` and link it to its other leg. Returns its number."""
    meta = table.meta
    meta[FREE] -= 1
    k = np.int64(table.free[meta[FREE]])
    meta[CONNECTIONS] += 1
    meta[SERIAL] += 1
    table.slots[slot] = k
    c = table.connections[k]
    src_high, src_low, dst_high, dst_low = p.src[i, 0], p.src[i, 1], p.dst[i, 0], p.dst[i, 1]
    if from_b:
        c.a_high, c.a_low, c.b_high, c.b_low = dst_high, dst_low, src_high, src_low
        c.a_port, c.b_port = p.dport[i], p.sport[i]
    else:
        c.a_high, c.a_low, c.b_high, c.b_low = src_high, src_low, dst_high, dst_low
        c.a_port, c.b_port = p.sport[i], p.dport[i]
    from_client = sender_is_client(table, p, i)
    c.proto, c.client_is_b, c.state = p.proto[i], from_b == from_client, FIRST_FROM_CLIENT if from_client else 0
    c.rule, c.payload_from, c.mediated, c.row, c.leg = NOT_A_COPY, 0, 0, -1, -1
    c.first_ns, c.last_ns, c.born_ns, c.serial = p.ts_ns[i], p.ts_ns[i], meta[WATERMARK_NS], meta[SERIAL]
    c.spot, c.token = spot(p, i), client_token(p, i, from_client)
    src, dst = address_number(table, src_high, src_low), address_number(table, dst_high, dst_low)
    src_bits, dst_bits = (
        known_bits(table.endpoints, src_high, src_low, 0),
        known_bits(table.endpoints, dst_high, dst_low, 0),
    )
    if from_client:
        c.client, c.server, c.client_kind = src, dst, src_bits
        c.server_kind = dst_bits | known_bits(table.endpoints, dst_high, dst_low, np.int64(p.dport[i]))
    else:
        c.client, c.server, c.client_kind = dst, src, dst_bits
        c.server_kind = src_bits | known_bits(table.endpoints, src_high, src_low, np.int64(p.sport[i]))
    table.sides[2 * k].started, table.sides[2 * k].interface = 0, -2
    table.sides[2 * k + 1].started, table.sides[2 * k + 1].interface = 0, -2
    link(table, k)
    return k


@kernel
def is_copy(side: np.void, p: Packets, i: int, now: int) -> bool:
    """Was this packet of the tuple already counted on another interface?

    Without an interface index the packet type stands in for it (cooked captures of version 1).
    """
    interface = p.ifindex[i]
    if interface < 0:
        interface = -1 if p.direction[i] == 255 else -3 - np.int32(p.direction[i])
    if side.interface != interface and side.interface != -2 and now - side.seen_ns <= INTERFACE_SILENCE_NS:
        return True
    side.interface, side.seen_ns = interface, now
    return False


@kernel
def fresh_payload(side: np.void, seq: np.uint32, size: int, syn: bool) -> int:
    """Bytes of a segment that were not seen before; remembers the newest hole so that late segments count."""
    if syn:
        seq = np.uint32(np.int64(seq) + 1)
    if not side.started:
        side.started, side.next, side.hole, side.hole_end = 1, np.uint32(np.int64(seq) + size), seq, seq
        return size
    ahead = np.int64(np.int32(np.int64(seq) - np.int64(side.next)))
    if ahead >= 0:
        if ahead > 0 and size > 0:
            side.hole, side.hole_end = side.next, seq
        if ahead == 0 or size > 0:
            side.next = np.uint32(np.int64(seq) + size)
        return size
    beyond = max(size + ahead, 0)
    side.next = np.uint32(np.int64(side.next) + beyond)
    width = np.int64(np.uint32(np.int64(side.hole_end) - np.int64(side.hole)))
    start = np.int64(np.int32(np.int64(seq) - np.int64(side.hole)))
    low, high = max(start, 0), min(start + size, width)
    if low >= high:
        return beyond
    if low == 0:
        side.hole = np.uint32(np.int64(side.hole) + high)
    else:
        side.hole_end = np.uint32(np.int64(side.hole) + low)
    return beyond + high - low


@kernel
def row_of(table: Table, k: int, window: int) -> int:
    """The pending row of connection `k` for a window. The caller made sure there is room for a new one."""
    c = table.connections[k]
    if c.row >= 0 and table.rows[c.row].window == window:
        return np.int64(c.row)
    number = table.meta[ROWS]
    table.meta[ROWS] += 1
    row = table.rows[number]
    row.window, row.connection = window, k
    row.request_bytes, row.response_bytes, row.request_payload, row.response_payload = 0, 0, 0, 0
    row.request_packets, row.response_packets, row.connections, row.exchanges = 0, 0, 0, 0
    row.dns_queries, row.dns_name_bytes = 0, 0
    c.row = number
    return number


@kernel
def add_packet(table: Table, p: Packets, i: int, k: int, from_b: bool, opened: bool, window: int, now: int) -> None:
    """Account for one packet of connection `k`."""
    c, side = table.connections[k], table.sides[2 * k + (1 if from_b else 0)]
    c.last_ns = max(c.last_ns, now)
    if is_copy(side, p, i, now):
        table.copies[BY_INTERFACE, COPY_PACKETS] += 1
        table.copies[BY_INTERFACE, COPY_BYTES] += np.int64(p.ip_bytes[i])
        return
    row = table.rows[row_of(table, k, window)]
    payload, flags, request = np.int64(p.payload_bytes[i]), p.tcp_flags[i], from_b == (c.client_is_b != 0)
    if c.proto == TCP and flags != 0:
        payload = fresh_payload(side, p.tcp_seq[i], payload, flags & SYN != 0)
        update_state(table, p, i, c, flags, from_b, request)
        opened = opened and flags & SYN != 0
    if opened:
        row.connections += 1
    if payload > 0:
        row.exchanges += 1 if request and c.payload_from != 1 else 0
        c.payload_from = 1 if request else 2
    if request:
        row.request_bytes += np.int64(p.ip_bytes[i])
        row.request_payload += payload
        row.request_packets += 1
        if p.dns_offset[i] >= 0 and c.proto == UDP and p.dport[i] == 53:
            queries, name_bytes = query_of(p.data, p.dns_offset[i], np.int64(p.dns_bytes[i]))
            row.dns_queries += queries
            row.dns_name_bytes += name_bytes
    else:
        row.response_bytes += np.int64(p.ip_bytes[i])
        row.response_payload += payload
        row.response_packets += 1


@kernel
def update_state(table: Table, p: Packets, i: int, c: np.void, flags: int, from_b: bool, request: bool) -> None:
    """TCP state; a port that answers a SYN is a listener from now on."""
    if not request:
        c.state |= ANSWERED
    if flags & SYN:
        c.state |= SYN_SEEN
        if flags & ACK:
            learn(table, p.src[i, 0], p.src[i, 1], np.int64(p.sport[i]), LISTENER)
    if flags & RST:
        c.state |= RESET
    if flags & FIN:
        c.state |= FIN_B if from_b else FIN_A


@kernel
def follow(table: Table, p: Packets, start: int, base_ns: int, timeout_ns: int) -> tuple[int, int]:
    """Account for packets from `start` on → (why it stopped, next packet). Room is checked before each packet."""
    meta = table.meta
    for i in range(start, len(p.ts_ns)):
        if meta[FREE] == 0:
            return CONNECTIONS_FULL, i
        if meta[ROWS] == len(table.rows):
            return ROWS_FULL, i
        if meta[ADDRESSES] + 2 > len(table.addresses):
            return ADDRESSES_FULL, i
        ts = p.ts_ns[i]
        meta[WATERMARK_NS] = max(meta[WATERMARK_NS], ts)
        now = max(ts, meta[WATERMARK_NS] - REORDER_NS)
        src_high, src_low, dst_high, dst_low = p.src[i, 0], p.src[i, 1], p.dst[i, 0], p.dst[i, 1]
        from_b = src_high > dst_high or (
            src_high == dst_high and (src_low > dst_low or (src_low == dst_low and p.sport[i] > p.dport[i]))
        )
        sport, dport, proto = np.uint64(p.sport[i]), np.uint64(p.dport[i]), np.uint64(p.proto[i])
        if from_b:
            slot = find(
                table, dst_high, dst_low, src_high, src_low, (dport << np.uint64(24)) | (sport << np.uint64(8)) | proto
            )
        else:
            slot = find(
                table, src_high, src_low, dst_high, dst_low, (sport << np.uint64(24)) | (dport << np.uint64(8)) | proto
            )
        k, opened = np.int64(table.slots[slot]), False
        if k >= 0:
            c = table.connections[k]
            if expired(c, now, timeout_ns) or begins_anew(p, i, c, from_b):
                c.state |= DEAD
                k = -1
        if k < 0:
            k, opened = open_connection(table, p, i, slot, from_b), True
        add_packet(table, p, i, k, from_b, opened, ts // base_ns, now)
    return DONE, len(p.ts_ns)
