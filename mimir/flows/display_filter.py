"""A Wireshark display filter for the packets of one edge over a span of time: addresses come from the entity log."""

from __future__ import annotations

from collections.abc import Collection
from ipaddress import IPv4Network, IPv6Network

from mimir.flows.addresses import MAPPED, Network, address_text
from mimir.flows.edges import OUTSIDE, EdgeKey
from mimir.flows.identity import GRACE_NS, Identity
from mimir.units import NS_PER_S

MOST_ADDRESSES = 40  #: a longer list is left out: the filter then selects by port and time alone


def display_filter(identity: Identity, edge: EdgeKey, start_s: float, end_s: float) -> str:
    """`tshark -r capture.pcap -Y '…'` shows both directions of the edge between two times (UTC epoch seconds).

    Every address that one of the names had in that span counts, service addresses included: a packet on a node is seen
    before and after its destination is rewritten. A name without a known address is left out.
    """
    ends = [_any_of(addresses(identity, name, start_s, end_s)) for name in (edge.client, edge.server)]
    parts = [part for part in ends if part]
    if edge.proto in ("tcp", "udp", "sctp"):
        parts.append(f"{edge.proto}.port == {edge.server_port}" if not _has_service(identity, edge) else edge.proto)
    parts += [f"frame.time_epoch >= {start_s:.0f}", f"frame.time_epoch < {end_s:.0f}"]
    return " && ".join(parts)


def addresses(identity: Identity, name: str, start_s: float, end_s: float) -> list[str]:
    """Addresses that a pod, a service (its address and those of its pods), a node or an outside name had, sorted."""
    start, end = round(start_s * NS_PER_S), round(end_s * NS_PER_S)
    found = {
        address_text(address)
        for address, tenures in identity.tenures.items()
        for t in tenures
        if name in (t.name.pod, t.name.service) and t.since_ns - GRACE_NS < end and t.until_ns + GRACE_NS > start
    }
    found |= {_prefix(network) for network, known in identity.networks if known.pod == name}
    bare = name.removeprefix(OUTSIDE)
    if not found and bare and all(c in "0123456789abcdefABCDEF.:" for c in bare) and any(c in ".:" for c in bare):
        found.add(bare)
    return sorted(found)


def _prefix(network: Network) -> str:
    """Network → 203.0.113.0/24 or 2001:db8::/32."""
    if network.bits >= 96 and network.value >> 32 == MAPPED >> 32:
        return str(IPv4Network((network.value & 0xFFFFFFFF, network.bits - 96), strict=False))
    return str(IPv6Network((network.value, network.bits), strict=False))


def _has_service(identity: Identity, edge: EdgeKey) -> bool:
    """Service address and pods may listen on different ports: then the port would lose half of the packets."""
    return any(t.kind == "service" and t.name.service == edge.server for ts in identity.tenures.values() for t in ts)


def _any_of(found: Collection[str]) -> str:
    if not found or len(found) > MOST_ADDRESSES:
        return ""
    plain, six = [a for a in found if ":" not in a], [a for a in found if ":" in a]
    parts = [f"ip.addr in {{{', '.join(plain)}}}"] if plain else []
    parts += [f"ipv6.addr in {{{', '.join(six)}}}"] if six else []
    return parts[0] if len(parts) == 1 else f"({' || '.join(parts)})"
