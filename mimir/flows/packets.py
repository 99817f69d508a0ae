"""What one packet says: its columns, who seems to ask, what it shares with its copies.

Client and server are decided by SYN, then by a known listening port (services, ports that answered a SYN, then the
side outside the ephemeral range while the other is inside), then by who sent the first packet.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mimir.capture.batch import ACK, ICMP, ICMP6, RST, SYN, TCP, PacketBatch
from mimir.flows.hashing import half_hash, hash_ends, known_bits
from mimir.flows.table import ANSWERED, LISTENER, PEER_SEEN, SYN_SEEN, Table
from mimir.jit import U64, Flag, Int, Record, inlined, kernel

#: ports from here on are picked by the kernel for clients (net.ipv4.ip_local_port_range)
EPHEMERAL = 32_768


class Packets(NamedTuple):
    """The columns of a batch that the kernel reads."""

    ts_ns: NDArray[np.int64]
    src: NDArray[np.uint64]  #: high and low half of packet i at 2 × i and behind it
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
    tunnel: NDArray[np.int32]
    dns_offset: NDArray[np.int64]
    dns_bytes: NDArray[np.uint16]
    data: NDArray[np.uint8]
    key: NDArray[np.uint64]  #: hash of the connection that the packet belongs to


def columns(batch: PacketBatch) -> Packets:
    """Contiguous columns, so that one machine code serves every source, and the hash of each packet's connection."""
    given = [np.ascontiguousarray(getattr(batch, name)).reshape(-1) for name in Packets._fields[:-1]]
    out = Packets._make([*given, np.empty(len(batch), np.uint64)])
    hash_connections(out)
    return out


@kernel
def hash_connections(p: Packets) -> None:
    """Fill the column `key`."""
    for at in range(len(p.ts_ns)):
        i = np.uint64(at)  # a signed index could count from the end: a test for every column
        src_high, src_low = source(p, i)
        dst_high, dst_low = target(p, i)
        one, other = half_hash(src_high, src_low, p.sport[i]), half_hash(dst_high, dst_low, p.dport[i])
        p.key[i] = hash_ends(one, other, p.proto[i])


@inlined
def source(p: Packets, i: Int) -> tuple[U64, U64]:
    """Address of the sender of packet `i`, high and low half."""
    return p.src[np.uint64(2) * np.uint64(i)], p.src[np.uint64(2) * np.uint64(i) + np.uint64(1)]


@inlined
def target(p: Packets, i: Int) -> tuple[U64, U64]:
    """Address of the receiver of packet `i`, high and low half."""
    return p.dst[np.uint64(2) * np.uint64(i)], p.dst[np.uint64(2) * np.uint64(i) + np.uint64(1)]


@inlined
def spot(p: Packets, i: Int) -> Int:
    """Interface and direction as one number; -1 when the capture says neither."""
    interface = np.int64(p.ifindex[i])
    if interface < 0 and p.direction[i] == 255:
        return -1
    if interface < -1:  # a node whose capture names no interfaces
        interface = -interface << 32
    return ((interface + 1) << 8) | np.int64(p.direction[i])


@inlined
def sender_is_client(table: Table, p: Packets, i: Int) -> Flag:
    """Who asks? See the module's text for the order of rules."""
    if p.proto[i] == TCP and p.tcp_flags[i] & SYN:
        return not p.tcp_flags[i] & ACK
    sport, dport = np.int64(p.sport[i]), np.int64(p.dport[i])
    if (sport == 0 and dport == 0) or p.proto[i] == ICMP or p.proto[i] == ICMP6:
        return True
    src_high, src_low = source(p, i)
    dst_high, dst_low = target(p, i)
    src_listens = known_bits(table.endpoints, src_high, src_low, sport) & LISTENER
    dst_listens = known_bits(table.endpoints, dst_high, dst_low, dport) & LISTENER
    if src_listens != dst_listens:
        return dst_listens != 0
    if (sport < EPHEMERAL) != (dport < EPHEMERAL):
        return dport < EPHEMERAL
    return True


@inlined
def client_token(p: Packets, i: Int, from_client: bool) -> Int:
    """What the legs of one connection have in common in their first packet."""
    if p.proto[i] == TCP:
        if from_client:
            return p.tcp_seq[i]
        return np.uint32(np.int64(p.tcp_ack[i]) - (1 if p.tcp_flags[i] & SYN else 0))
    return np.uint32((np.int64(p.ip_id[i]) << 16) | (np.int64(p.payload_bytes[i]) & 0xFFFF))


@inlined
def begins_anew(p: Packets, i: Int, c: Record, from_b: bool) -> Flag:
    """Is a SYN the start of another connection with the same tuple?

    Not when it repeats the one that is known, and not when both sides open at the same time: then nothing but a SYN
    came before the other side's (RFC 9293, 3.5, "simultaneous open").
    """
    if p.proto[i] != TCP or p.tcp_flags[i] & (SYN | ACK | RST) != SYN:
        return False
    if from_b == (c.client_is_b != 0):
        return not (c.state & SYN_SEEN and p.tcp_seq[i] == c.token)
    if not c.state & SYN_SEEN:
        return True
    answered = c.state & (ANSWERED | PEER_SEEN)
    return answered != 0 and not (c.state & PEER_SEEN and p.tcp_seq[i] == c.peer)
