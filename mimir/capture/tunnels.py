"""The outer pairs of overlays: between whom, in which kind of tunnel and under which number a packet was carried."""

from __future__ import annotations

import numpy as np

from mimir.capture.fields import Bytes, be16, be32
from mimir.capture.network import Packet
from mimir.jit import Int, Records, kernel

#: kinds of overlay; indices of `Tally.overlays` and of OVERLAY_NAMES
VXLAN, GENEVE, GRE, IPIP, OVERLAYS = range(5)
OVERLAY_NAMES = ("vxlan", "geneve", "gre", "ipip")
#: distinct tunnels and directions remembered; a power of two. Packets of further ones have no number
MAX_TUNNELS = 1 << 12
MAX_STEPS = 64
#: `identifier` is the VNI of VXLAN and Geneve or the key of GRE, -1 without one; `kind` is -1 in an empty slot
TUNNEL = np.dtype(
    [("src_high", "u8"), ("src_low", "u8"), ("dst_high", "u8"), ("dst_low", "u8"), ("identifier", "i8"), ("kind", "i8")]
)


def new_tunnels() -> Records:
    """Room for MAX_TUNNELS tunnels."""
    tunnels = np.zeros(MAX_TUNNELS, TUNNEL)
    tunnels["kind"] = -1
    return tunnels


@kernel
def tunnel_number(tunnels: Records, outer: Packet, kind: Int, identifier: Int) -> Int:
    """The number of the tunnel that `outer` is a packet of, given on first sight; -1 when there is no room."""
    mask = len(tunnels) - 1
    key = (outer.src_low * np.uint64(0x9E3779B97F4A7C15)) ^ (outer.dst_low * np.uint64(0xC2B2AE3D27D4EB4F))
    key ^= outer.src_high ^ (outer.dst_high << np.uint64(1)) ^ np.uint64((identifier + 1) << 2 | kind)
    key = (key ^ (key >> np.uint64(31))) * np.uint64(0xBF58476D1CE4E5B9)
    at = np.int64(key >> np.uint64(40)) & mask
    for _ in range(MAX_STEPS):
        t = tunnels[at]
        if t.kind < 0:
            t.src_high, t.src_low, t.dst_high, t.dst_low = outer.src_high, outer.src_low, outer.dst_high, outer.dst_low
            t.identifier, t.kind = identifier, kind
            return at
        if (
            t.kind == kind and t.identifier == identifier and t.src_low == outer.src_low and t.dst_low == outer.dst_low
            and t.src_high == outer.src_high and t.dst_high == outer.dst_high
        ):  # fmt: skip
            return at
        at = (at + 1) & mask
    return -1


@kernel
def network_identifier(buf: Bytes, p: Packet, kind: Int, end: Int) -> Int:
    """VNI of VXLAN and Geneve, key of GRE; -1 where there is none. The tunnel's header was found whole before."""
    at = p.transport
    if kind in (VXLAN, GENEVE):
        return be32(buf, at + 12) >> 8
    if kind == GRE and be16(buf, at) & 0x2000:
        at += 8 if be16(buf, at) & 0x8000 else 4
        return be32(buf, at) if end - at >= 4 else -1
    return -1
