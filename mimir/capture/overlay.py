"""Overlay kernel: the packet inside the packet, as container networks carry it between nodes.

VXLAN RFC 7348, Geneve RFC 8926, GRE RFC 2784 and 2890, ERSPAN draft-foschiano-erspan, IP in IP RFC 2003, 2473, 4213.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mimir.capture.fields import Bytes, be16, byte
from mimir.capture.link import ETHERTYPE_IPV4, ETHERTYPE_IPV6, NO_ETHERTYPE, unwrap
from mimir.capture.network import WHOLE, Packet, decode_ip
from mimir.capture.tunnels import GENEVE, GRE, IPIP, VXLAN, network_identifier, tunnel_number
from mimir.jit import Flag, Int, Records, inlined, kernel

#: UDP ports: VXLAN as registered and as Linux, Flannel and Cilium use it; Geneve
VXLAN_PORT, VXLAN_LINUX_PORT, GENEVE_PORT = 4789, 8472, 6081
#: overlays taken off one packet; deeper ones stay inside the last row
MAX_OVERLAYS = 4
TRANSPARENT_ETHERNET, ERSPAN_2, ERSPAN_3 = 0x6558, 0x88BE, 0x22EB


@inlined
def is_overlay(p: Packet) -> Flag:
    """May this packet carry another one? Pieces of a fragmented one are left alone: their sum is the outer packet."""
    if p.proto == 6 or p.status != WHOLE or p.transport < 0:
        return False
    if p.proto == 17:
        return p.dport == VXLAN_PORT or p.dport == VXLAN_LINUX_PORT or p.dport == GENEVE_PORT
    return p.proto == 4 or p.proto == 41 or p.proto == 47


@kernel
def decapsulate(
    buf: Bytes, end: Int, ethertype: Int, p: Packet, overlays: NDArray[np.int64], tunnels: Records
) -> tuple[Int, Packet, Int]:
    """The innermost packet that can be decoded → (its ethertype, its row, its tunnel); else the packet itself and -1.

    Each header taken off is counted in `overlays`. An inner packet longer than the outer one has room for is no packet.
    The tunnel is the outermost one: its addresses are those of the nodes.
    """
    tunnel = -1
    for _ in range(MAX_OVERLAYS):
        kind, inside, at = overlay_header(buf, p, end)
        if inside != ETHERTYPE_IPV4 and inside != ETHERTYPE_IPV6:
            break
        room = p.payload_bytes + (8 if p.proto == 17 else 0) - (at - p.transport)
        inner = decode_ip(buf, at, end, room)
        if inner.status < 0 or inner.ip_bytes > room:
            break
        overlays[np.uint64(kind)] += 1
        if tunnel < 0:
            tunnel = tunnel_number(tunnels, p, kind, network_identifier(buf, p, kind, end))
        ethertype, p = inside, inner
        if not is_overlay(p):
            break
    return ethertype, p, tunnel


@inlined
def overlay_header(buf: Bytes, p: Packet, end: Int) -> tuple[Int, Int, Int]:
    """Headers between the outer and the inner packet → (kind, ethertype or a negative reason, offset of the inner)."""
    at = p.transport
    if p.proto == 4:
        return IPIP, ETHERTYPE_IPV4, at
    if p.proto == 41:
        return IPIP, ETHERTYPE_IPV6, at
    if p.proto == 47:
        inside, at = gre(buf, at, end)
        return GRE, inside, at
    if p.dport == GENEVE_PORT:
        inside, at = geneve(buf, at + 8, end)
        return GENEVE, inside, at
    if end - at < 16 or byte(buf, at + 8) & 0x08 == 0:  # the flag that a network identifier is there is mandatory
        return VXLAN, NO_ETHERTYPE, at
    inside, at = ethernet(buf, at + 16, end)
    return VXLAN, inside, at


@kernel
def ethernet(buf: Bytes, at: Int, end: Int) -> tuple[Int, Int]:
    """Inner Ethernet frame → (ethertype or a negative reason, offset of what follows)."""
    if end - at < 14:
        return NO_ETHERTYPE, at
    ethertype, at, _ = unwrap(buf, at + 14, end, be16(buf, at + 12))
    return ethertype, at


@inlined
def geneve(buf: Bytes, at: Int, end: Int) -> tuple[Int, Int]:
    """Geneve of version 0 with its options; control messages carry no packet."""
    if end - at < 8 or byte(buf, at) >> 6 != 0 or byte(buf, at + 1) & 0x80:
        return NO_ETHERTYPE, at
    inside = be16(buf, at + 2)
    at += 8 + (byte(buf, at) & 0x3F) * 4
    if inside == TRANSPARENT_ETHERNET:
        return ethernet(buf, at, end)
    return inside, at


@inlined
def gre(buf: Bytes, at: Int, end: Int) -> tuple[Int, Int]:
    """GRE with checksum, key and sequence number; routing (deprecated) and PPP in version 1 (PPTP) stay closed.

    Version 1 may have an acknowledgement (RFC 2637); some clouds carry IP in it. Without a sequence number ERSPAN has no
    header of its own (type I).
    """
    if end - at < 4:
        return NO_ETHERTYPE, at
    flags, inside = be16(buf, at), be16(buf, at + 2)
    if flags & 0x4006:
        return NO_ETHERTYPE, at
    at += (
        4
        + (4 if flags & 0x8000 else 0)
        + (4 if flags & 0x2000 else 0)
        + (4 if flags & 0x1000 else 0)
        + (4 if flags & 0x81 == 0x81 else 0)
    )
    if inside == TRANSPARENT_ETHERNET:
        return ethernet(buf, at, end)
    if inside == ERSPAN_2:
        return ethernet(buf, at + (8 if flags & 0x1000 else 0), end)
    if inside == ERSPAN_3:
        if end - at < 12:
            return NO_ETHERTYPE, at
        return ethernet(buf, at + (20 if byte(buf, at + 11) & 1 else 12), end)
    if inside == 0x8847 or inside == 0x8848:
        inside, at, _ = unwrap(buf, at, end, inside)
    return inside, at
