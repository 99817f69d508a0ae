"""Network and transport layer kernel: one IP packet → its row.

IPv4 RFC 791, IPv6 and its extension headers RFC 8200, TCP RFC 9293, UDP RFC 768, SCTP RFC 9260, AH RFC 4302.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from mimir.capture.fields import Bytes, be16, be32, be64, byte
from mimir.jit import Int, inlined, kernel

#: what `decode_ip` says about a packet; negative: no row
WHOLE, FIRST_FRAGMENT, LATER_FRAGMENT = 0, 1, 2
TRUNCATED_IP, MALFORMED_IP = -1, -2
MAX_EXTENSION_HEADERS = 32
#: segmentation offload hands over at most 512 KiB at a time ("BIG TCP"); a frame that claims more is no packet
MAX_OFFLOAD_BYTES = 1 << 20


class Packet(NamedTuple):
    """One IP packet. `transport` is the offset of the transport header, -1 when it was not captured."""

    status: int
    src_high: np.uint64
    src_low: np.uint64
    dst_high: np.uint64
    dst_low: np.uint64
    proto: Int
    sport: int
    dport: int
    ip_bytes: int
    payload_bytes: int
    tcp_flags: int
    tcp_seq: int
    tcp_ack: int
    ip_id: int
    fragment: int  #: identification that fragments of one datagram share
    transport: int


@inlined
def no_packet(status: Int) -> Packet:
    """A packet that cannot become a row, with the reason."""
    zero = np.uint64(0)
    return Packet(status, zero, zero, zero, zero, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, -1)


@inlined
def believed(p: Packet, room: Int) -> Packet:
    """The packet with no more bytes than the `room` that the frame had for it on the wire."""
    excess = p.ip_bytes - room
    if excess <= 0 or p.status < 0:
        return p
    return Packet(
        p.status, p.src_high, p.src_low, p.dst_high, p.dst_low, p.proto, p.sport, p.dport, room,
        max(p.payload_bytes - excess, 0), p.tcp_flags, p.tcp_seq, p.tcp_ack, p.ip_id, p.fragment, p.transport,
    )  # fmt: skip


@inlined
def decode_ip(buf: Bytes, at: Int, end: Int, wire: Int) -> Packet:
    """IP packet at `buf[at:end]`, of which `wire` bytes were on the wire."""
    if at >= end:
        return no_packet(TRUNCATED_IP)
    version = byte(buf, at) >> 4
    if version == 4:
        return decode_ipv4(buf, at, end, wire)
    if version == 6:
        return decode_ipv6(buf, at, end, wire)
    return no_packet(MALFORMED_IP)


@inlined
def decode_ipv4(buf: Bytes, at: Int, end: Int, wire: Int) -> Packet:
    """A total length of 0 means the card cut it up later (segmentation offload): the frame's length counts."""
    if end - at < 20:
        return no_packet(TRUNCATED_IP)
    header, total = (byte(buf, at) & 15) * 4, be16(buf, at + 2)
    if total == 0:
        total = max(wire, header)
    if header < 20 or total < header or total > MAX_OFFLOAD_BYTES:
        return no_packet(MALFORMED_IP)
    mapped = np.uint64(0x0000FFFF00000000)
    src, dst = np.uint64(be32(buf, at + 12)) | mapped, np.uint64(be32(buf, at + 16)) | mapped
    identification, place, proto = be16(buf, at + 4), be16(buf, at + 6), byte(buf, at + 9)
    end = min(end, at + total)
    offset, left = at + header, total - header
    status = WHOLE
    if place & 0x1FFF:
        status = LATER_FRAGMENT
    elif place & 0x2000:
        status = FIRST_FRAGMENT
    if status != LATER_FRAGMENT and proto == 51 and end - offset >= 2:
        step = (byte(buf, offset + 1) + 2) * 4
        proto = byte(buf, offset)
        offset, left = offset + step, max(left - step, 0)
    ports = transport(buf, offset, end, left, proto, status == LATER_FRAGMENT)
    zero = np.uint64(0)
    return Packet(
        status, zero, src, zero, dst, proto, ports[0], ports[1], total, ports[2], ports[3], ports[4], ports[5],
        identification, identification, ports[6],
    )  # fmt: skip


@inlined
def decode_ipv6(buf: Bytes, at: Int, end: Int, wire: Int) -> Packet:
    """A payload length of 0 means a jumbogram or segmentation offload: the frame's length counts."""
    if end - at < 40:
        return no_packet(TRUNCATED_IP)
    src_high, src_low = be64(buf, at + 8), be64(buf, at + 16)
    dst_high, dst_low = be64(buf, at + 24), be64(buf, at + 32)
    length = be16(buf, at + 4)
    total = max(wire, 40) if length == 0 and byte(buf, at + 6) != 59 else 40 + length
    if total > MAX_OFFLOAD_BYTES:
        return no_packet(MALFORMED_IP)
    end = min(end, at + total)
    proto, offset, status, identification = extension_headers(buf, at + 40, end, byte(buf, at + 6))
    left = max(total - (offset - at), 0)
    ports = transport(buf, offset, end, left, proto, status == LATER_FRAGMENT)
    return Packet(
        status, src_high, src_low, dst_high, dst_low, proto, ports[0], ports[1], total, ports[2], ports[3], ports[4],
        ports[5], 0, identification, ports[6],
    )  # fmt: skip


@kernel
def extension_headers(buf: Bytes, at: Int, end: Int, proto: Int) -> tuple[Int, Int, Int, Int]:
    """Walk the chain → (protocol, offset of its header, fragment status, fragment identification)."""
    status, identification = WHOLE, 0
    step: Int
    for _ in range(MAX_EXTENSION_HEADERS):
        if proto == 44:
            if end - at < 8:
                return proto, at, status, identification
            place = be16(buf, at + 2)
            if place & 0xFFF8:
                status = LATER_FRAGMENT
            elif place & 1:
                status = FIRST_FRAGMENT
            identification = be32(buf, at + 4)
            step = 8
        elif proto == 0 or proto == 43 or proto == 60 or proto == 135 or proto == 139 or proto == 140:
            if end - at < 2:
                return proto, at, status, identification
            step = (byte(buf, at + 1) + 1) * 8
        elif proto == 51:
            if end - at < 2:
                return proto, at, status, identification
            step = (byte(buf, at + 1) + 2) * 4
        else:
            break
        proto = byte(buf, at)
        at += step
        if status == LATER_FRAGMENT:
            break
    return proto, at, status, identification


@inlined
def icmp_partner(proto: Int, kind: Int, code: Int) -> Int:
    """The ICMP type that answers type `kind`, or the type that it answers; the code for types without a partner.

    Both directions of an exchange so have the same pair of "ports" (Community ID version 1; Zeek counts alike).
    """
    if proto == 1:
        if kind == 8 or kind == 0:
            return 8 - kind
        if 13 <= kind <= 18:
            return ((kind - 13) ^ 1) + 13
        return 19 - kind if kind == 9 or kind == 10 else code
    if 128 <= kind <= 131 or kind == 144 or kind == 145:
        return kind ^ 1
    if 133 <= kind <= 136:
        return ((kind - 133) ^ 1) + 133
    return 279 - kind if kind == 139 or kind == 140 else code


@inlined
def transport(
    buf: Bytes, at: Int, end: Int, left: Int, proto: Int, later: bool
) -> tuple[Int, Int, Int, Int, Int, Int, Int]:
    """Transport header at `buf[at:end]`, `left` bytes on the wire → sport, dport, payload, flags, seq, ack, offset."""
    if later:
        return 0, 0, left, 0, 0, 0, -1
    if proto == 1 or proto == 58:
        if end - at < 2:
            return 0, 0, max(left - 8, 0), 0, 0, 0, at if at < end else -1
        kind = byte(buf, at)
        return kind, icmp_partner(proto, kind, byte(buf, at + 1)), max(left - 8, 0), 0, 0, 0, at
    if proto != 6 and proto != 17 and proto != 132 and proto != 136:
        return 0, 0, left, 0, 0, 0, at if at < end else -1
    if end - at < 4:
        return 0, 0, max(left - (20 if proto == 6 else 8), 0), 0, 0, 0, -1
    sport, dport = be16(buf, at), be16(buf, at + 2)
    if proto == 6:
        if end - at < 14:
            return sport, dport, max(left - 20, 0), 0, 0, 0, at
        header = max((byte(buf, at + 12) >> 4) * 4, 20)
        return sport, dport, max(left - header, 0), byte(buf, at + 13), be32(buf, at + 4), be32(buf, at + 8), at
    return sport, dport, max(left - (12 if proto == 132 else 8), 0), 0, 0, 0, at
