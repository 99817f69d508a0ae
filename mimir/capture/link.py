"""Link layer kernel: where in a frame does the network layer begin, and which protocol is it?

Link types and their layouts: https://www.tcpdump.org/linktypes.html; VLAN tags: IEEE 802.1Q; MPLS: RFC 3032;
PPPoE: RFC 2516; LLC/SNAP: IEEE 802.2, RFC 1042.
"""

from __future__ import annotations

from mimir.capture.fields import Bytes, be16, be32, byte, le32
from mimir.jit import Int, inlined, kernel

#: the kernel counts interfaces in 31 bits; larger numbers would turn into "not known"
MAX_IFINDEX = 0x7FFFFFFF
NULL, ETHERNET, RAW_OLD, RAW_BSD, RAW, LOOP, SLL, IPV4, IPV6, SLL2 = 0, 1, 12, 14, 101, 108, 113, 228, 229, 276
NAMES = {
    NULL: "NULL",
    ETHERNET: "EN10MB",
    RAW_OLD: "RAW",
    RAW_BSD: "RAW",
    RAW: "RAW",
    LOOP: "LOOP",
    SLL: "LINUX_SLL",
    IPV4: "IPV4",
    IPV6: "IPV6",
    SLL2: "LINUX_SLL2",
}
ETHERTYPE_IPV4, ETHERTYPE_IPV6, ETHERTYPE_ARP = 0x0800, 0x86DD, 0x0806
#: returned in place of an ethertype
UNSUPPORTED_LINK, TRUNCATED_LINK, NO_ETHERTYPE = -1, -2, -3


@inlined
def link_layer(buf: Bytes, at: Int, end: Int, linktype: Int) -> tuple[Int, Int, Int, Int, Int]:
    """Frame at `buf[at:end]` → (ethertype or a negative reason, offset of the payload, tags, ifindex, direction)."""
    if linktype == ETHERNET:
        if end - at < 14:
            return TRUNCATED_LINK, at, 0, -1, 255
        ethertype, offset, tags = unwrap(buf, at + 14, end, be16(buf, at + 12))
        return ethertype, offset, tags, -1, 255
    if linktype == SLL2:
        if end - at < 20:
            return TRUNCATED_LINK, at, 0, -1, 255
        ethertype, offset, tags = unwrap(buf, at + 20, end, be16(buf, at))
        return ethertype, offset, tags, be32(buf, at + 4) & MAX_IFINDEX, byte(buf, at + 10)
    if linktype == SLL:
        if end - at < 16:
            return TRUNCATED_LINK, at, 0, -1, 255
        ethertype, offset, tags = unwrap(buf, at + 16, end, be16(buf, at + 14))
        return ethertype, offset, tags, -1, byte(buf, at + 1)
    if linktype in (NULL, LOOP):
        if end - at < 4:
            return TRUNCATED_LINK, at, 0, -1, 255
        return family_ethertype(be32(buf, at), le32(buf, at)), at + 4, 0, -1, 255
    if linktype in (RAW, IPV4, IPV6, RAW_OLD, RAW_BSD):
        return ip_ethertype(buf, at, end), at, 0, -1, 255
    return UNSUPPORTED_LINK, at, 0, -1, 255


@inlined
def family_ethertype(big: Int, little: Int) -> Int:
    """BSD address family (byte order of the capturing host) → ethertype."""
    family = big if big < little else little
    if family == 2:
        return ETHERTYPE_IPV4
    if family == 10 or family == 23 or family == 24 or family == 28 or family == 30:
        return ETHERTYPE_IPV6
    return NO_ETHERTYPE


@inlined
def ip_ethertype(buf: Bytes, at: Int, end: Int) -> Int:
    """Version nibble of a bare IP packet → ethertype."""
    if at >= end:
        return TRUNCATED_LINK
    version = byte(buf, at) >> 4
    if version == 4:
        return ETHERTYPE_IPV4
    if version == 6:
        return ETHERTYPE_IPV6
    return NO_ETHERTYPE


@inlined
def unwrap(buf: Bytes, at: Int, end: Int, ethertype: Int) -> tuple[Int, Int, Int]:
    """Step over VLAN tags, SNAP, MPLS labels and PPPoE → (ethertype or a negative reason, offset, VLAN tags)."""
    if ethertype in (ETHERTYPE_IPV4, ETHERTYPE_IPV6):
        return ethertype, at, 0
    tags = 0
    while ethertype == 0x8100 or ethertype == 0x88A8 or ethertype == 0x9100 or ethertype == 0x9200:
        if end - at < 4:
            return TRUNCATED_LINK, at, tags
        ethertype = be16(buf, at + 2)
        at += 4
        tags += 1
    if ethertype < 0x0600:
        return llc(buf, at, end, tags)
    if ethertype == 0x8847 or ethertype == 0x8848:
        return mpls(buf, at, end, ethertype, tags)
    if ethertype == 0x8864 and end - at >= 8:
        ppp = be16(buf, at + 6)
        if ppp == 0x0021:
            return ETHERTYPE_IPV4, at + 8, tags
        if ppp == 0x0057:
            return ETHERTYPE_IPV6, at + 8, tags
    return ethertype, at, tags


@kernel
def llc(buf: Bytes, at: Int, end: Int, tags: Int) -> tuple[Int, Int, Int]:
    """802.2: a SNAP header carries an ethertype, everything else is no IP."""
    if end - at >= 8 and byte(buf, at) == 0xAA and byte(buf, at + 1) == 0xAA and byte(buf, at + 2) == 3:
        if byte(buf, at + 3) == 0 and byte(buf, at + 4) == 0 and byte(buf, at + 5) == 0:
            return be16(buf, at + 6), at + 8, tags
    elif end - at >= 3 and byte(buf, at) == 0x06 and byte(buf, at + 1) == 0x06 and byte(buf, at + 2) == 3:
        return ETHERTYPE_IPV4, at + 3, tags
    return NO_ETHERTYPE, at, tags


@kernel
def mpls(buf: Bytes, at: Int, end: Int, ethertype: Int, tags: Int) -> tuple[Int, Int, Int]:
    """Skip the label stack; the version nibble tells whether IP follows."""
    while end - at >= 4:
        bottom = byte(buf, at + 2) & 1
        at += 4
        if bottom:
            inner = ip_ethertype(buf, at, end)
            return (inner, at, tags) if inner > 0 else (ethertype, at, tags)
    return TRUNCATED_LINK, at, tags
