"""Is a packet seen elsewhere a copy of one that was counted, or another one of its connection?

A TCP segment is a copy when the counted place has shown all of its bytes, its acknowledgement and its FIN or RST. Other
packets are copies when one with the same IP identification was counted within a second (the same length, where there is no
identification). What cannot be told is a copy: datagrams of segmentation offload or larger than a frame, which other
interfaces see in pieces, and those that more datagrams followed within a second than are remembered.
"""

from __future__ import annotations

import numpy as np

from mimir.capture.batch import ACK, FIN, NODE_BITS, RST, SYN, TCP
from mimir.flows.hashing import mix
from mimir.flows.packets import Packets
from mimir.flows.table import (
    ACK_SHOWN,
    BY_INTERFACE,
    BY_NODE,
    DATAGRAM_SETS,
    FIN_SHOWN,
    NOT_A_COPY,
    OFFLOADED,
    RESET_SHOWN,
    SET_SIZE,
    STARTED,
    Table,
)
from mimir.flows.tcp import distance, is_missing
from mimir.jit import U64, Flag, Int, Record, inlined, kernel

#: the counted place may change without further proof after this silence (a route changed); datagrams are remembered as long
SILENCE_NS = 1_000_000_000
#: `place` of a side that was not seen yet
NOWHERE = 0xFFFFFFFF
#: bit of a place that has no interface index
UNNAMED = 1 << 31
#: what one frame carries at most on common links
FRAME_BYTES = 1500


@inlined
def place(p: Packets, i: Int) -> Int:
    """Where a packet was seen: interface, with the node's number above NODE_BITS. Never NOWHERE.

    Without an interface index the packet type stands in for it (cooked captures of version 1).
    """
    interface = np.int64(p.ifindex[i])
    return interface if interface >= 0 else UNNAMED | ((-1 - interface) << 8) | np.int64(p.direction[i])


@inlined
def node_of(where: Int) -> Int:
    """The node of a place."""
    return (where & (UNNAMED - 1)) >> 8 if where & UNNAMED else where >> NODE_BITS


@inlined
def copy_rule(table: Table, side: Record, p: Packets, i: Int, owner: Int, now: Int) -> Int:
    """Was this packet of side `owner` already counted on another interface, or another node? Gives the rule.

    What is no copy is remembered: its place is where the side counts from now on.
    """
    seen, before = place(p, i), np.int64(side.place)
    stream = p.proto[i] == TCP and p.tcp_flags[i] != 0
    if (
        before != seen and before != NOWHERE and now - side.seen_ns <= SILENCE_NS
        and (was_shown(table, side, p, i, owner) if stream else was_counted(table, side, p, i, owner, now))
    ):  # fmt: skip
        return BY_INTERFACE if node_of(before) == node_of(seen) else BY_NODE
    side.place, side.seen_ns = seen, now
    if stream:
        show(side, p, i)
    else:
        remember(table, side, p, i, owner, now)
    return NOT_A_COPY


@inlined
def show(side: Record, p: Packets, i: Int) -> None:
    """Note what a counted segment shows beside its bytes."""
    flags = p.tcp_flags[i]
    if flags & ACK:
        if not side.shown & ACK_SHOWN or distance(p.tcp_ack[i], side.ack) > 0:
            side.ack = p.tcp_ack[i]
        side.shown |= ACK_SHOWN
    if flags & (FIN | RST):
        side.shown |= (FIN_SHOWN if flags & FIN else 0) | (RESET_SHOWN if flags & RST else 0)


@kernel
def was_shown(table: Table, side: Record, p: Packets, i: Int, owner: Int) -> Flag:
    """Does a segment bring nothing that counted ones have not shown? Without bytes, its acknowledgement says."""
    flags, size = p.tcp_flags[i], np.int64(p.payload_bytes[i])
    if flags & ACK and (not side.shown & ACK_SHOWN or distance(p.tcp_ack[i], side.ack) > 0):
        return False
    if (flags & FIN and not side.shown & FIN_SHOWN) or (flags & RST and not side.shown & RESET_SHOWN):
        return False
    if size == 0 or not side.shown & STARTED:
        return True
    seq = np.uint32(np.int64(p.tcp_seq[i]) + (1 if flags & SYN else 0))
    return distance(seq, side.next) + size <= 0 and not is_missing(table, side, owner, seq, size)


@inlined
def datagram_hash(p: Packets, i: Int, owner: Int) -> U64:
    """What the copies of a datagram have in common, and other datagrams of its connection have not."""
    mark = np.int64(p.ip_id[i])
    if mark == 0:
        mark = (1 << 16) | np.int64(p.payload_bytes[i])
    return mix(np.uint64(owner) ^ (np.uint64(mark) << np.uint64(40)))


@kernel
def was_counted(table: Table, side: Record, p: Packets, i: Int, owner: Int, now: Int) -> Flag:
    """Was a datagram like this one counted within SILENCE_NS, or can that not be told?"""
    if side.shown & OFFLOADED or p.ip_bytes[i] > FRAME_BYTES:
        return True
    key: U64 = datagram_hash(p, i, owner)
    oldest: Int = 0
    first = np.int64(key & np.uint64(DATAGRAM_SETS - 1)) * SET_SIZE
    for at in range(first, first + SET_SIZE):
        entry = table.datagrams[at]
        age = age_of(entry, now)
        if entry != 0 and (entry ^ key) >> np.uint64(32) == 0 and age <= SILENCE_NS >> 20:
            return True
        oldest = max(oldest, age)
    return oldest <= SILENCE_NS >> 20


@inlined
def age_of(entry: U64, now: Int) -> Int:
    """Age of a remembered datagram in steps of 2 ** 20 ns (1 ms); very large for none."""
    if entry == 0:
        return 1 << 31
    return np.int64(np.int32((now >> 20) - np.int64(entry & np.uint64(0xFFFFFFFF))))


@kernel
def remember(table: Table, side: Record, p: Packets, i: Int, owner: Int, now: Int) -> None:
    """Note a counted datagram in place of the oldest one of its set."""
    if p.ip_bytes[i] > FRAME_BYTES:
        side.shown |= OFFLOADED
    key = datagram_hash(p, i, owner)
    first: Int = np.int64(key & np.uint64(DATAGRAM_SETS - 1)) * SET_SIZE
    chosen, oldest = first, -(1 << 62)
    for at in range(first, first + SET_SIZE):
        age = age_of(table.datagrams[at], now)
        if age > oldest:
            chosen, oldest = at, age
    table.datagrams[chosen] = (key >> np.uint64(32) << np.uint64(32)) | np.uint64((now >> 20) & 0xFFFFFFFF)
