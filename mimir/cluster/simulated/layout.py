"""Who lives where at the beginning: pods, service addresses and interfaces of the simulated node, the entity log."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from ipaddress import IPv4Address, IPv4Network
from typing import Any

from mimir.cluster.simulated.roster import NODE, Pod, Roster, line_of, pod_line
from mimir.spec.app import AppSpec
from mimir.spec.cluster import AddressesSpec, SimulatedSpec

NODE_IF = 2
FIRST_VETH = 5
FIRST_SERVICE, SERVICE_STEP = 0x1000, 7  # service addresses in their network, beyond the system's own
KUBE_DNS, DNS_PORT, API_PORT = "kube-dns", 53, 443
SYSTEM = "kube-system"
CLIENTS, RESOLVER = "clients", "resolver"


@dataclass(frozen=True)
class Layout:
    """Addresses of one application on one node; a function of the spec alone."""

    app: AppSpec
    cluster: SimulatedSpec

    @cached_property
    def pods(self) -> tuple[Pod, ...]:
        """System pods first, then the application's, services in the order of the YAML."""
        wanted = [(KUBE_DNS, SYSTEM, self.cluster.dns.replicas)]
        wanted += [
            (n, self.app.namespace, self.replicas(n)) for n, s in self.app.services.items() if s.kind != "external"
        ]
        first = int(self._network("pods").network_address) + 2
        found: list[Pod] = []
        for service, namespace, replicas in wanted:
            for replica in range(replicas):
                number = len(found)
                found.append(Pod(f"{service}-{replica}", service, namespace, first + number, FIRST_VETH + number))
        return tuple(found)

    def replicas(self, service: str) -> int:
        """Pods of a service at the beginning: within the bounds of its autoscaler, where that is on."""
        count, scaler = self.app.services[service].replicas, self.app.autoscaling.get(service)
        if not (self.cluster.autoscaling and scaler):
            return count
        return min(max(count, scaler.min_replicas), scaler.max_replicas)

    @cached_property
    def roster(self) -> Roster:
        """Pods of one recording that come and go; the only part of a layout that changes."""
        return Roster(self.pods, int(self._network("pods").network_address) + 2, self.cluster.pods.addresses)

    def pods_of(self, service: str) -> list[Pod]:
        """Pods of one service, in order; empty for external ones."""
        return [pod for pod in self.pods if pod.service == service]

    @cached_property
    def service_ip(self) -> dict[str, int]:
        """Service addresses as numbers; external services have their own address here."""
        base = int(self._network("services").network_address) + FIRST_SERVICE
        found = {KUBE_DNS: self.number("dns_service")}
        for i, (name, service) in enumerate(self.app.services.items()):
            found[name] = (
                int(IPv4Address(service.address)) if service.kind == "external" else base + SERVICE_STEP * i + 1
            )
        return found

    def number(self, key: str) -> int:
        """One address of conf/cluster/simulated.yaml as a number; of a network the first."""
        return int(IPv4Address(getattr(self.cluster.addresses, key).split("/")[0]))

    def client_ip(self, slot: int) -> int:
        """Address of the user in a slot: the clients' network, without its ends and the attacker's address."""
        network = self._network("clients")
        return int(network.network_address) + 1 + slot % max(1, network.num_addresses - 16)

    @cached_property
    def attacker_ip(self) -> int:
        """An ordinary client's address that no user has."""
        network = self._network("clients")
        return int(network.broadcast_address) - 5

    def _network(self, key: str) -> IPv4Network:
        return IPv4Network(getattr(self.cluster.addresses, key))

    def host(self, service: str) -> str:
        """The DNS name clients ask for: a service's short name, or the host of an external one."""
        spec = self.app.services[service]
        return spec.host if spec.host else service

    def _more_ports(self, service: str) -> list[int]:
        """Ports of a service's pods beside the one that calls use: replication and scrapes."""
        peers = [spec.port for spec in self.app.replication if spec.service == service]
        return peers + [spec.port for spec in self.app.scrapes if spec.server == service]

    def entities(self, ts: int) -> list[dict[str, Any]]:
        """Lines of entities.jsonl: everything was there when the recording began."""
        addresses: AddressesSpec = self.cluster.addresses
        lines = [line_of(ts, "node", NODE, addresses.node)]
        lines += [pod_line(ts, pod) for pod in self.pods]
        lines.append(line_of(ts, "service", KUBE_DNS, addresses.dns_service, namespace=SYSTEM, workload=KUBE_DNS,
                           selector={"app": KUBE_DNS}, ports={str(DNS_PORT): DNS_PORT}))  # fmt: skip
        lines.append(line_of(ts, "service", "kubernetes", addresses.api_service, namespace="default",
                           workload="kubernetes", ports={str(API_PORT): 8443}))  # fmt: skip
        for name, service in self.app.services.items():
            ip = str(IPv4Address(self.service_ip[name]))
            if service.kind == "external":
                lines.append(line_of(ts, "external", name, ip))
                continue
            ports = {str(service.port): service.target_port} | {str(port): port for port in self._more_ports(name)}
            node_ports = {str(service.node_port): service.target_port} if service.node_port else {}
            lines.append(line_of(ts, "service", name, ip, namespace=self.app.namespace, workload=name,
                               selector={"app": name}, ports=ports, node_ports=node_ports))  # fmt: skip
        lines.append(line_of(ts, "external", CLIENTS, addresses.clients))
        lines.append(line_of(ts, "external", RESOLVER, addresses.resolver))
        return lines
