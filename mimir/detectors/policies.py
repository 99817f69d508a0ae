"""Allowed edges → NetworkPolicy and CiliumNetworkPolicy objects, one for each service, that allow exactly these edges.

Formats: Kubernetes API reference, networking.k8s.io/v1 NetworkPolicy; Cilium documentation, "Layer 3 Policies" and "Layer 4
Policies" (cilium.io/v2 CiliumNetworkPolicy). Ports are those of the containers: policies are judged behind the service address.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any

from mimir.detectors.columns import ANYONE, NODE
from mimir.detectors.inventory import Inventory, Workload
from mimir.detectors.leakpaths import DNS_PORT
from mimir.flows.edges import OUTSIDE, EdgeKey, is_outside

Peers = list[dict[str, Any]]
SYSTEM = frozenset(
    {"kube-system", "kube-public", "kube-node-lease"}
)  #: a policy here could cut a cluster's own services
PROTOCOLS = {"tcp": "TCP", "udp": "UDP", "sctp": "SCTP"}
API_SERVER = "kubernetes"  #: the service of the API server, which has no pods
HOST_NAME = re.compile(r"^(?=.*[a-z])[a-z0-9-]+(\.[a-z0-9-]+)+$")


@dataclass(frozen=True)
class Export:
    """Policy objects, and the edges that the format cannot express, in words."""

    policies: list[dict[str, Any]]
    left_out: list[str]


def network_policies(allowed: Iterable[EdgeKey], inventory: Inventory) -> Export:
    """networking.k8s.io/v1 NetworkPolicy. Outside names become address blocks: this API knows no names."""
    return _export(allowed, inventory, _kubernetes_peers, _network_policy)


def cilium_policies(allowed: Iterable[EdgeKey], inventory: Inventory) -> Export:
    """cilium.io/v2 CiliumNetworkPolicy. Outside names that are host names stay names (toFQDNs)."""
    return _export(allowed, inventory, _cilium_peers, _cilium_policy)


def _export(
    allowed: Iterable[EdgeKey],
    inventory: Inventory,
    peers: Callable[[str, Workload, Inventory, bool], Peers],
    make: Callable[[str, Workload, list[Any], list[Any]], dict[str, Any]],
) -> Export:
    edges, left_out = sorted(set(allowed)), []
    policies = []
    mine = {s: w for s, w in sorted(inventory.workloads.items()) if w.namespace not in SYSTEM}
    for service, workload in mine.items():
        rules: list[list[Any]] = []
        for end, inward in (("server", True), ("client", False)):
            ports: dict[str, list[tuple[int, str]]] = {}
            for edge in edges:
                if getattr(edge, end) != service:
                    continue
                if edge.proto not in PROTOCOLS:
                    left_out.append(f"{edge}: protocol {edge.proto}")
                    continue
                peer = edge.client if inward else edge.server
                ports.setdefault(peer, []).append((edge.server_port, PROTOCOLS[edge.proto]))
            made = []
            for peer, numbers in ports.items():
                known = peers(peer, workload, inventory, inward)
                made += [(known, numbers)] if known else []
                left_out += (
                    []
                    if known
                    else [f"{peer} {'→' if inward else '←'} {service}: nothing is known to select {peer} by"]
                )
            rules.append(made)
        if not workload.labels:
            left_out.append(f"{service}: its pods share no label to select them by")
        else:
            policies.append(make(service, workload, *rules))
    return Export(policies, sorted(set(left_out)))


def _kubernetes_peers(peer: str, of: Workload, inventory: Inventory, inward: bool) -> Peers:
    if peer == ANYONE:
        return [{"ipBlock": {"cidr": "0.0.0.0/0"}}, {"ipBlock": {"cidr": "::/0"}}]
    workload = inventory.workloads.get(peer)
    if workload:
        selector: dict[str, Any] = {"podSelector": {"matchLabels": dict(workload.labels)}}
        if workload.namespace != of.namespace:
            selector["namespaceSelector"] = {"matchLabels": {"kubernetes.io/metadata.name": workload.namespace}}
        return [selector] if workload.labels else []
    return [{"ipBlock": {"cidr": block}} for block in _blocks(peer, inventory)]


def _cilium_peers(peer: str, of: Workload, inventory: Inventory, inward: bool) -> Peers:
    way = "from" if inward else "to"
    workload = inventory.workloads.get(peer)
    if workload:
        labels = dict(workload.labels)
        if workload.namespace != of.namespace:
            labels["k8s:io.kubernetes.pod.namespace"] = workload.namespace
        return [{f"{way}Endpoints": [{"matchLabels": labels}]}] if workload.labels else []
    if peer == ANYONE:
        return [{f"{way}Entities": ["world"]}]
    if peer.startswith(NODE):
        return [{f"{way}Entities": ["host", "remote-node"]}]
    if peer == API_SERVER and not inward:
        return [{"toEntities": ["kube-apiserver"]}]
    name = peer.removeprefix(OUTSIDE)
    if is_outside(peer) and not inward and HOST_NAME.match(name):
        return [{"toFQDNs": [{"matchName": name}]}]
    blocks = _blocks(peer, inventory)
    return [{f"{way}CIDR": blocks}] if blocks else []


def _blocks(peer: str, inventory: Inventory) -> list[str]:
    """CIDR blocks of a node, an outside name or a bare outside address."""
    name = peer.removeprefix(OUTSIDE).removeprefix(NODE)
    try:
        address = ip_address(name)
    except ValueError:
        return list(inventory.networks(name))
    return [f"{address}/{address.max_prefixlen}"]


def _head(service: str, workload: Workload, version: str, kind: str) -> dict[str, Any]:
    name = re.sub(r"[^a-z0-9-]+", "-", service.lower()).strip("-")
    labels = {"app.kubernetes.io/managed-by": "mimir"}
    return {
        "apiVersion": version, "kind": kind,
        "metadata": {"name": f"mimir-{name}", "namespace": workload.namespace, "labels": labels},
    }  # fmt: skip


Rules = Sequence[tuple[Peers, Sequence[tuple[int, str]]]]


def _network_policy(service: str, workload: Workload, ingress: Rules, egress: Rules) -> dict[str, Any]:
    def rules(made: Rules, way: str) -> list[Mapping[str, Any]]:
        return [{way: peers, "ports": [{"port": n, "protocol": p} for n, p in ports]} for peers, ports in made]

    return _head(service, workload, "networking.k8s.io/v1", "NetworkPolicy") | {
        "spec": {
            "podSelector": {"matchLabels": dict(workload.labels)},
            "policyTypes": ["Ingress", "Egress"],
            "ingress": rules(ingress, "from"),
            "egress": rules(egress, "to"),
        }
    }


def _cilium_policy(service: str, workload: Workload, ingress: Rules, egress: Rules) -> dict[str, Any]:
    by_name = any("toFQDNs" in peers[0] for peers, _ in egress)

    def rules(made: Rules, way: str) -> list[dict[str, Any]]:
        out: list[dict[str, Any]] = []
        for peers, numbers in made:
            ports: dict[str, Any] = {"ports": [{"port": str(n), "protocol": p} for n, p in numbers]}
            if by_name and way == "to" and all(n == DNS_PORT for n, _ in numbers):
                ports["rules"] = {"dns": [{"matchPattern": "*"}]}  # toFQDNs knows only the names it sees resolved
            out.append(peers[0] | {"toPorts": [ports]})
        # without any rule Cilium would not judge this direction at all; the entity `none` never exists
        return out or [{f"{way}Entities": ["none"]}]

    return _head(service, workload, "cilium.io/v2", "CiliumNetworkPolicy") | {
        "spec": {
            "endpointSelector": {"matchLabels": dict(workload.labels)},
            "ingress": rules(ingress, "from"),
            "egress": rules(egress, "to"),
        }
    }
