"""Packet rows → pcap records (link type SLL2, headers and the contents a batch holds), in one numba kernel.

Layouts: draft-ietf-opsawg-pcap (record), tcpdump.org LINKTYPE_LINUX_SLL2 (link layer), RFC 791, 8200, 9293, 768, 792,
4443, checksums RFC 1071. What a `PacketBatch` does not hold is constant here: see the names in capitals.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mimir.capture.batch import PacketBatch
from mimir.jit import kernel

TTL = 64  # IPv4 time to live and IPv6 hop limit
SYN_WINDOW = 64_240  # advertised in a SYN, where no scaling applies
WINDOW = 8_192  # advertised otherwise; 1 MiB after scaling
WINDOW_SHIFT = 7
MSS = 1_460
ARPHRD_ETHER = 1
ADDRESS_PREFIX = 0x0242  # locally administered; followed by the interface index
RECORD_BYTES, SLL2_BYTES = 16, 20
#: most bytes one row can need, without its DNS message: record, SLL2, IPv6, longest TCP header
ROW_BYTES = RECORD_BYTES + SLL2_BYTES + 40 + 60
OK, BAD_ORDER, BAD_FAMILY, BAD_PROTOCOL, BAD_LENGTH = 0, 1, 2, 3, 4

_TCP, _UDP, _ICMP, _ICMP6 = 6, 17, 1, 58
_SYN, _RST, _ACK = 0x02, 0x04, 0x10
_Bytes = NDArray[np.uint8]


class Columns(NamedTuple):
    """The columns of a batch that the kernel reads; addresses as int64 views."""

    ts_ns: NDArray[np.int64]
    src: NDArray[np.int64]
    dst: NDArray[np.int64]
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


def columns(batch: PacketBatch) -> Columns:
    """Contiguous, writable arrays, so that one machine code serves every source."""
    plain = (np.require(getattr(batch, name), requirements=["C", "W"]) for name in Columns._fields)
    return Columns(*(column.view(np.int64) if column.dtype == np.uint64 else column for column in plain))


@kernel
def _u16(out: _Bytes, at: int, value: int) -> None:
    out[at] = (value >> 8) & 0xFF
    out[at + 1] = value & 0xFF


@kernel
def _u32(out: _Bytes, at: int, value: int) -> None:
    _u16(out, at, value >> 16)
    _u16(out, at + 2, value)


@kernel
def _u32_little(out: _Bytes, at: int, value: int) -> None:
    out[at] = value & 0xFF
    out[at + 1] = (value >> 8) & 0xFF
    out[at + 2] = (value >> 16) & 0xFF
    out[at + 3] = (value >> 24) & 0xFF


@kernel
def _words(out: _Bytes, begin: int, end: int) -> int:
    """Sum of big-endian 16-bit words; an odd last byte counts as the high half (RFC 1071)."""
    high, low = 0, 0
    for at in range(begin, end - 1, 2):
        high += out[at]
        low += out[at + 1]
    if (end - begin) & 1:
        high += out[end - 1]
    return (high << 8) + low


@kernel
def _checksum(total: int) -> int:
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return total ^ 0xFFFF


@kernel
def _link(out: _Bytes, at: int, ethertype: int, ifindex: int, direction: int) -> int:
    _u32(out, at, ethertype << 16)
    _u32(out, at + 4, ifindex)
    _u16(out, at + 8, ARPHRD_ETHER)
    out[at + 10] = direction if direction <= 4 else 0
    out[at + 11] = 6
    _u16(out, at + 12, ADDRESS_PREFIX)
    _u32(out, at + 14, ifindex)
    _u16(out, at + 18, 0)
    return at + SLL2_BYTES


@kernel
def _ip4(out: _Bytes, at: int, length: int, ident: int, proto: int, src: int, dst: int) -> int:
    """20 bytes, don't-fragment set; returns the sum of the address words for the pseudo header."""
    _u16(out, at, 0x4500)
    _u16(out, at + 2, length)
    _u16(out, at + 4, ident)
    _u16(out, at + 6, 0x4000)
    out[at + 8] = TTL
    out[at + 9] = proto
    _u32(out, at + 12, src)
    _u32(out, at + 16, dst)
    addresses = ((src >> 16) & 0xFFFF) + (src & 0xFFFF) + ((dst >> 16) & 0xFFFF) + (dst & 0xFFFF)
    _u16(out, at + 10, _checksum(0x4500 + length + ident + 0x4000 + (TTL << 8) + proto + addresses))
    return addresses


@kernel
def _ip6(out: _Bytes, at: int, length: int, proto: int, src: NDArray[np.int64], dst: NDArray[np.int64]) -> int:
    """40 bytes; returns the sum of the address words for the pseudo header."""
    _u32(out, at, 0x60000000)
    _u16(out, at + 4, length - 40)
    out[at + 6] = proto
    out[at + 7] = TTL
    for half in range(2):
        _u32(out, at + 8 + 8 * half, src[half] >> 32)
        _u32(out, at + 12 + 8 * half, src[half])
        _u32(out, at + 24 + 8 * half, dst[half] >> 32)
        _u32(out, at + 28 + 8 * half, dst[half])
    return _words(out, at + 8, at + 40)


@kernel
def _tcp_options(out: _Bytes, at: int, end: int, flags: int, clock_ms: int) -> None:
    """Fill the option space: a SYN offers MSS, SACK, timestamps, scaling; others carry timestamps; the rest is NOP.

    The echoed timestamp is the sender's own clock: rows do not say what the peer sent last.
    """
    if flags & _SYN and end - at >= 4:
        _u32(out, at, 0x02040000 | MSS)
        at += 4
    if flags & _SYN and end - at >= 16:
        _u16(out, at, 0x0402)
        _u32(out, at + 12, 0x01030300 | WINDOW_SHIFT)
        stamp, at = at + 2, at + 16
    elif end - at >= 12:
        _u16(out, at, 0x0101)
        stamp, at = at + 2, at + 12
    else:
        stamp = -1
    if stamp >= 0:
        _u16(out, stamp, 0x080A)
        _u32(out, stamp + 2, clock_ms)
        _u32(out, stamp + 6, clock_ms if flags & _ACK else 0)
    while at < end:
        out[at] = 1
        at += 1


@kernel
def _tcp(
    out: _Bytes, at: int, head: int, sport: int, dport: int, seq: int, ack: int, flags: int, clock_ms: int, total: int
) -> int:
    """TCP header of `head` bytes; `total` is the sum of pseudo header and payload. Returns its end."""
    window = SYN_WINDOW if flags & _SYN else (0 if flags & _RST else WINDOW)
    _u16(out, at, sport)
    _u16(out, at + 2, dport)
    _u32(out, at + 4, seq)
    _u32(out, at + 8, ack)
    _u16(out, at + 12, (head << 10) | flags)
    _u16(out, at + 14, window)
    _u32(out, at + 16, 0)
    _tcp_options(out, at + 20, at + head, flags, clock_ms)
    _u16(out, at + 16, _checksum(total + _words(out, at, at + head)))
    return at + head


@kernel
def _udp(out: _Bytes, at: int, length: int, sport: int, dport: int, total: int) -> int:
    _u16(out, at, sport)
    _u16(out, at + 2, dport)
    _u16(out, at + 4, length)
    checksum = _checksum(total + sport + dport + length)
    _u16(out, at + 6, checksum if checksum else 0xFFFF)
    return at + 8


@kernel
def _echo(out: _Bytes, at: int, kind: int, ident: int, sequence: int, total: int) -> int:
    """ICMP or ICMPv6 echo request or reply; `total` is the sum of everything outside its header."""
    _u16(out, at, kind << 8)
    _u16(out, at + 4, ident)
    _u16(out, at + 6, sequence)
    _u16(out, at + 2, _checksum(total + (kind << 8) + ident + sequence))
    return at + 8


@kernel
def _refusal(v4: bool, v4_peer: bool, proto: int, transport: int, payload: int, message: int) -> int:
    """Why a row cannot be a packet; `transport` counts its header and payload, `message` the bytes of it that the batch holds."""
    if v4 != v4_peer:
        return BAD_FAMILY
    head = transport - payload
    if proto == _TCP:
        fits = 20 <= head <= 60 and head % 4 == 0
    elif proto == _UDP or proto == (_ICMP if v4 else _ICMP6):
        fits = head == 8
    else:
        return BAD_PROTOCOL
    fits &= transport + (20 if v4 else 0) <= 0xFFFF and message <= payload
    return OK if fits else BAD_LENGTH


@kernel
def _transport(
    out: _Bytes,
    at: int,
    sizes: tuple[int, int],
    pseudo: int,
    clock_ms: int,
    head: tuple[int, int, int, int, int],
    numbers: tuple[int, int],
) -> int:
    """Header at `at`; `sizes` are transport and payload bytes, `pseudo` the sum of everything outside it.

    `head` is protocol, source port, destination port, TCP flags, identification; `numbers` sequence, acknowledgement. An
    echo has them as sequence number and identifier; where they are 0, it has 1 and the identification.
    """
    proto, sport, dport, flags, ident = head
    if proto == _TCP:
        return _tcp(out, at, sizes[0] - sizes[1], sport, dport, numbers[0], numbers[1], flags, clock_ms, pseudo)
    if proto == _UDP:
        return _udp(out, at, sizes[0], sport, dport, pseudo)
    sequence, session = numbers[0] & 0xFFFF if numbers[0] else 1, numbers[1] & 0xFFFF if numbers[1] else ident
    if proto == _ICMP:
        return _echo(out, at, 0 if sport == 0 and dport == 8 else 8, session, sequence, pseudo)
    return _echo(out, at, 129 if sport == 129 and dport == 128 else 128, session, sequence, pseudo)


@kernel
def _record(out: _Bytes, start: int, time_ns: int, captured: int, original: int) -> None:
    _u32_little(out, start, time_ns // 1_000_000_000)
    _u32_little(out, start + 4, time_ns % 1_000_000_000)
    _u32_little(out, start + 8, captured)
    _u32_little(out, start + 12, original)


@kernel
def encode(
    out: _Bytes, begin: int, end: int, last_ns: int, limits: tuple[int, int], c: Columns
) -> tuple[int, int, int]:
    """Fill `out` with the records of rows `begin` … `end`, the first not before `last_ns`.

    `limits`: the snaplen, and what contents are kept (0: none, 1: DNS over UDP, 2: all the batch holds). Returns bytes filled, the row that stopped it (or `end`),
    and why (OK, BAD_…).
    """
    at = 0
    for i in range(begin, end):
        proto, length, payload = int(c.proto[i]), int(c.ip_bytes[i]), int(c.payload_bytes[i])
        v4 = c.src[i, 0] == 0 and (c.src[i, 1] >> 32) == 0xFFFF
        v4_peer = c.dst[i, 0] == 0 and (c.dst[i, 1] >> 32) == 0xFFFF
        transport = length - (20 if v4 else 40)
        held = c.dns_offset[i] >= 0 and (proto == _UDP or limits[1] == 2)
        message = int(c.dns_bytes[i]) if held else 0
        error = _refusal(v4, v4_peer, proto, transport, payload, message) if c.ts_ns[i] >= last_ns else BAD_ORDER
        if error != OK:
            return at, i, error
        start, last_ns, ident = at, c.ts_ns[i], int(c.ip_id[i])
        at = _link(out, at + RECORD_BYTES, 0x0800 if v4 else 0x86DD, max(0, c.ifindex[i]), int(c.direction[i]))
        if v4:
            pseudo = _ip4(out, at, length, ident, proto, c.src[i, 1] & 0xFFFFFFFF, c.dst[i, 1] & 0xFFFFFFFF)
        else:
            pseudo = _ip6(out, at, length, proto, c.src[i], c.dst[i])
        at += length - transport
        pseudo = 0 if proto == _ICMP else pseudo + proto + transport
        if message:
            pseudo += _words(c.data, c.dns_offset[i], c.dns_offset[i] + message)
        head = (proto, int(c.sport[i]), int(c.dport[i]), int(c.tcp_flags[i]), ident)
        numbers = (int(c.tcp_seq[i]), int(c.tcp_ack[i]))
        at = _transport(out, at, (transport, payload), pseudo, last_ns // 1_000_000, head, numbers)
        if limits[1] and message:
            for k in range(message):
                out[at + k] = c.data[c.dns_offset[i] + k]
            at += message
        captured = min(at - start - RECORD_BYTES, limits[0])
        at = start + RECORD_BYTES + captured
        _record(out, start, last_ns, captured, SLL2_BYTES + length)
    return at, end, OK
