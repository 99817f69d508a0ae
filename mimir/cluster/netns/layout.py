"""Pods, addresses and names of the testbed; a function of the spec alone. The entity log says when each was there."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from ipaddress import IPv4Network
from typing import Any

from mimir.spec.app import AppSpec
from mimir.spec.cluster import NetnsSpec

NODE, KUBE_DNS, SYSTEM, DNS_PORT = "node-0", "kube-dns", "kube-system", 53
CLUSTER_ZONE = "cluster.local"


@dataclass(frozen=True)
class Pod:
    """One pod: a network namespace with one address."""

    name: str
    service: str
    namespace: str
    ip: str


@dataclass(frozen=True)
class Layout:
    """Who has which address."""

    app: AppSpec
    cluster: NetnsSpec

    @cached_property
    def pods(self) -> tuple[Pod, ...]:
        """kube-dns first, then the services in the order of the YAML."""
        wanted = [(KUBE_DNS, SYSTEM, self.cluster.dns.replicas)]
        wanted += [(n, self.app.namespace, s.replicas) for n, s in self.app.services.items() if s.kind != "external"]
        network = IPv4Network(self.cluster.addresses.pods)
        found: list[Pod] = []
        for service, namespace, replicas in wanted:
            for replica in range(replicas):
                found.append(Pod(f"{service}-{replica}", service, namespace, str(network[2 + len(found)])))
        return tuple(found)

    def pods_of(self, service: str) -> list[Pod]:
        """Pods of one service, in order; empty for external ones."""
        return [pod for pod in self.pods if pod.service == service]

    @cached_property
    def service_ip(self) -> dict[str, str]:
        """Service addresses; external services have their own address here."""
        network = IPv4Network(self.cluster.addresses.services)
        found = {KUBE_DNS: self.cluster.addresses.dns_service}
        for number, (name, service) in enumerate(self.app.services.items()):
            found[name] = str(service.address) if service.kind == "external" else str(network[256 + number])
        return found

    @cached_property
    def ports(self) -> dict[str, dict[int, int]]:
        """Service → port of the service address → port of the pod."""
        found = {n: {s.port: s.target_port} for n, s in self.app.services.items() if s.kind != "external"}
        for name, pairs in found.items():
            more = [r.port for r in self.app.replication if r.service == name]
            pairs.update((port, port) for port in [*more, *(s.port for s in self.app.scrapes if s.server == name)])
        return found | {KUBE_DNS: {DNS_PORT: DNS_PORT}}

    @cached_property
    def zone(self) -> dict[str, str]:
        """Names of the cluster zone and of external services → address."""
        found = {f"{KUBE_DNS}.{SYSTEM}.svc.{CLUSTER_ZONE}": self.service_ip[KUBE_DNS]}
        for name, service in self.app.services.items():
            full = service.host or f"{name}.{self.app.namespace}.svc.{CLUSTER_ZONE}"
            found[full] = self.service_ip[name]
        return found

    def host(self, service: str) -> str:
        """The name clients ask for: a service's short name, or the host of an external one."""
        return self.app.services[service].host or service

    def client_ip(self, slot: int) -> str:
        """Address of the user in a slot."""
        network = IPv4Network(self.cluster.addresses.clients)
        return str(network[1 + slot % (network.num_addresses - 16)])

    def resolv_conf(self, namespace: str) -> str:
        """Contents of /etc/resolv.conf as the kubelet writes it into pods of a namespace (resolv.conf(5))."""
        dns = self.cluster.dns
        search = " ".join([f"{namespace}.svc.{CLUSTER_ZONE}", *dns.search])
        return f"nameserver {self.cluster.addresses.dns_service}\nsearch {search}\noptions ndots:{dns.ndots}\n"

    @property
    def attacker_ip(self) -> str:
        """An ordinary client's address that no user has."""
        return str(IPv4Network(self.cluster.addresses.clients)[-6])

    @property
    def outside_ips(self) -> list[str]:
        """Single addresses beyond the cluster: resolver, sink, external services."""
        services = [s.address for s in self.app.services.values() if s.kind == "external" and s.address]
        return sorted({self.cluster.addresses.resolver, self.cluster.addresses.sink, *services})

    def entities(self, ts: float, pods: Iterable[tuple[float, str, Pod]]) -> list[dict[str, Any]]:
        """Lines of entities.jsonl in order of time: `ts` is when the node was up, each event of a pod has its own time."""
        addresses = self.cluster.addresses
        lines = [_line(ts, "node", NODE, addresses.node)]
        lines += [
            _line(at, "pod", p.name, p.ip, namespace=p.namespace, workload=p.service, labels={"app": p.service}, node=NODE)
            | {"event": event}
            for at, event, p in pods
        ]  # fmt: skip
        for name, pairs in self.ports.items():
            spec = self.app.services.get(name)
            lines.append(_line(
                ts, "service", name, self.service_ip[name], namespace=self.app.namespace if spec else SYSTEM, workload=name,
                selector={"app": name}, ports={str(a): b for a, b in pairs.items()},
                node_ports={str(spec.node_port): spec.target_port} if spec and spec.node_port else {},
            ))  # fmt: skip
        for name, spec in self.app.services.items():
            if spec.kind == "external":
                lines.append(_line(ts, "external", name, self.service_ip[name]))
        lines.append(_line(ts, "external", "clients", addresses.clients))
        lines.append(_line(ts, "external", "resolver", addresses.resolver))
        return sorted(lines, key=lambda line: float(line["ts"]))


def _line(ts: float, kind: str, name: str, ip: str, **more: Any) -> dict[str, Any]:
    empty = {"namespace": "", "workload": "", "labels": {}, "selector": {}, "node": "", "ports": {}, "node_ports": {}}
    return {"ts": ts, "event": "added", "kind": kind, "name": name, "ip": ip, **empty, **more}
