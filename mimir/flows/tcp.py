"""TCP: which bytes are new, and in which state is the connection? (RFC 9293)"""

from __future__ import annotations

import numpy as np

from mimir.capture.batch import ACK, FIN, RST, SYN, TCP
from mimir.flows.hashing import learn
from mimir.flows.packets import Packets, source
from mimir.flows.table import ANSWERED, FIN_A, FIN_B, LISTENER, RESET, SYN_SEEN, Table
from mimir.jit import Flag, Int, Record, inlined

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
        if flags & ACK:
            high, low = source(p, i)
            learn(table, high, low, np.int64(p.sport[i]), LISTENER)
    if flags & RST:
        c.state |= RESET
    if flags & FIN:
        c.state |= FIN_B if from_b else FIN_A


@inlined
def fresh_payload(side: Record, seq: Int, size: Int, syn: bool) -> Int:
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
    beyond: Int = max(size + ahead, 0)
    side.next = np.uint32(np.int64(side.next) + beyond)
    width = np.int64(np.uint32(np.int64(side.hole_end) - np.int64(side.hole)))
    start = np.int64(np.int32(np.int64(seq) - np.int64(side.hole)))
    low: Int = max(start, 0)
    high: Int = min(start + size, width)
    if low >= high:
        return beyond
    if low == 0:
        side.hole = np.uint32(np.int64(side.hole) + high)
    else:
        side.hole_end = np.uint32(np.int64(side.hole) + low)
    return beyond + high - low
