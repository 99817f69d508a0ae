"""TCP: which bytes are new, and in which state is the connection? (RFC 9293)"""

from __future__ import annotations

import numpy as np

from mimir.capture.batch import ACK, FIN, RST, SYN, TCP
from mimir.flows.hashing import learn
from mimir.flows.packets import Packets, source
from mimir.flows.table import (
    ANSWERED,
    FIN_A,
    FIN_B,
    FURTHER_HOLES,
    GROUP_SIZE,
    HOLE_GROUPS,
    HOLES_FORGOTTEN,
    LISTENER,
    RESET,
    STARTED,
    SYN_SEEN,
    Table,
)
from mimir.jit import Flag, Int, Record, inlined, kernel

#: how long a closed connection still takes stray packets (Zeek's tcp_close_delay), and an unanswered SYN waits
CLOSED_NS, UNANSWERED_NS = 5_000_000_000, 30_000_000_000


@inlined
def expired(c: Record, now: Int, timeout_ns: Int) -> Flag:
    """Has a connection been silent for too long to go on?"""
    idle = now - c.last_ns
    if c.proto == TCP:
        if c.state & RESET or (c.state & FIN_A and c.state & FIN_B):
            return idle > min(CLOSED_NS, timeout_ns)
        if not c.state & ANSWERED and c.state & SYN_SEEN:
            return idle > min(UNANSWERED_NS, timeout_ns)
    return idle > timeout_ns


@inlined
def update_state(table: Table, p: Packets, i: Int, c: Record, flags: Int, from_b: bool, request: bool) -> None:
    """TCP state; a port that answers a SYN is a listener from now on."""
    if not request:
        c.state |= ANSWERED
    if flags & SYN:
        c.state |= SYN_SEEN
        if flags & ACK and not request:  # both sides send one where both open at the same time
            high, low = source(p, i)
            learn(table, high, low, np.int64(p.sport[i]), LISTENER)
    if flags & RST:
        c.state |= RESET
    if flags & FIN:
        c.state |= FIN_B if from_b else FIN_A


@inlined
def distance(one: Int, other: Int) -> Int:
    """How far sequence number `one` is ahead of `other`; negative: behind."""
    return np.int64(np.int32(np.int64(one) - np.int64(other)))


@inlined
def part_of(seq: Int, size: Int, low: Int, high: Int) -> tuple[Int, Int]:
    """Which part of the hole from `low` to `high` a segment fills: (from, to), bytes from `low` on; none if from >= to."""
    start = distance(seq, low)
    return max(start, 0), min(start + size, distance(high, low))


@inlined
def fresh_payload(table: Table, side: Record, owner: Int, seq: Int, size: Int, syn: bool) -> Int:
    """Bytes of a segment that were not seen before; remembers holes so that late segments count."""
    if syn:
        seq = np.uint32(np.int64(seq) + 1)
    if not side.shown & STARTED:
        side.shown |= STARTED
        side.next, side.hole, side.hole_end = np.uint32(np.int64(seq) + size), seq, seq
        return size
    ahead = distance(seq, side.next)
    if ahead >= 0:
        if ahead > 0 and size > 0:
            if side.hole != side.hole_end:
                keep_hole(table, side, owner, side.hole, side.hole_end)
            side.hole, side.hole_end = side.next, seq
        if ahead == 0 or size > 0:
            side.next = np.uint32(np.int64(seq) + size)
        return size
    beyond: Int = max(size + ahead, 0)
    side.next = np.uint32(np.int64(side.next) + beyond)
    if side.shown & FURTHER_HOLES:
        beyond += fill_holes(table, side, owner, seq, size)
    low, high = part_of(seq, size, side.hole, side.hole_end)
    if low >= high:
        return beyond
    end, side.hole_end = side.hole_end, np.uint32(np.int64(side.hole) + low)
    start = np.uint32(np.int64(side.hole) + high)
    if low == 0:
        side.hole, side.hole_end = start, end
    elif start != end:
        keep_hole(table, side, owner, start, end)
    return beyond + high - low


@inlined
def group_of(owner: Int) -> Int:
    """Where the further holes of a side begin: first the owner, then GROUP_SIZE - 1 holes, 0 for none."""
    return (owner % HOLE_GROUPS) * GROUP_SIZE


@kernel
def keep_hole(table: Table, side: Record, owner: Int, low: Int, high: Int) -> None:
    """Remember one more hole. Where there is no room, a hole is forgotten and counted."""
    holes, group = table.holes, group_of(owner)
    if holes[group] != np.uint64(owner) or not side.shown & FURTHER_HOLES:
        for at in range(group + 1, group + GROUP_SIZE):  # of another connection, which may be over
            table.meta[HOLES_FORGOTTEN] += holes[at] != 0
            holes[at] = 0
        holes[group] = np.uint64(owner)
        side.shown |= FURTHER_HOLES
    hole = (np.uint64(low) << np.uint64(32)) | np.uint64(high)
    for at in range(group + 1, group + GROUP_SIZE):
        if holes[at] == 0:
            holes[at] = hole
            return
    table.meta[HOLES_FORGOTTEN] += 1
    for at in range(group + 1, group + GROUP_SIZE - 1):
        holes[at] = holes[at + 1]
    holes[group + GROUP_SIZE - 1] = hole


@kernel
def fill_holes(table: Table, side: Record, owner: Int, seq: Int, size: Int) -> Int:
    """Take a late segment out of the further holes of its side; how many bytes of it they lacked."""
    holes, group, fresh = table.holes, group_of(owner), 0
    if holes[group] != np.uint64(owner):
        return 0
    for at in range(group + 1, group + GROUP_SIZE):
        first, end = np.int64(holes[at] >> np.uint64(32)), np.int64(holes[at] & np.uint64(0xFFFFFFFF))
        low, high = part_of(seq, size, first, end)
        if low >= high:
            continue
        fresh += high - low
        before, behind = np.uint32(first + low), np.uint32(first + high)
        holes[at] = 0
        if low > 0:
            holes[at] = (np.uint64(first) << np.uint64(32)) | np.uint64(before)
        if behind != np.uint32(end):
            keep_hole(table, side, owner, behind, end)
    return fresh


@kernel
def is_missing(table: Table, side: Record, owner: Int, seq: Int, size: Int) -> Flag:
    """Does a segment lie, with some of its bytes, in a hole of what its side has shown?"""
    low, high = part_of(seq, size, side.hole, side.hole_end)
    if low < high:
        return True
    holes, group = table.holes, group_of(owner)
    if not side.shown & FURTHER_HOLES or holes[group] != np.uint64(owner):
        return False
    for at in range(group + 1, group + GROUP_SIZE):
        first, end = np.int64(holes[at] >> np.uint64(32)), np.int64(holes[at] & np.uint64(0xFFFFFFFF))
        low, high = part_of(seq, size, first, end)
        if low < high:
            return True
    return False
