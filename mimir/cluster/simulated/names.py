"""Names pods resolve, as the questions a resolver library asks: search domains first, A and AAAA together."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from typing import NamedTuple

import numpy as np

from mimir.cluster.simulated.layout import KUBE_DNS, SYSTEM, Layout
from mimir.cluster.simulated.tables import Ints
from mimir.exfiltration.dns_messages import NAME_ERROR, address_data, query_message, response_message

CLUSTER_ZONE = "cluster.local"
SERVICE_TTL_S, OUTSIDE_TTL_S = 30, 300
#: columns of a question: query and answer of A and of AAAA (message numbers, -1: not asked), slot in the resolver's cache
QUERY_A, ANSWER_A, QUERY_AAAA, ANSWER_AAAA, OUTSIDE_SLOT = range(5)
INSIDE, NEVER_CACHED = -1, -2  # instead of a slot


class Questions(NamedTuple):
    """Name `n` is asked by the rows `first[n] … first[n + 1] - 1` of `rows` in turn (Q, 5)."""

    first: Ints
    rows: Ints


@dataclass
class Names:
    """Collects names, and the DNS messages they need. Messages carry transaction id 0; the loop draws one for each."""

    layout: Layout
    messages: list[bytes] = field(default_factory=list)
    hosts: dict[str, str] = field(default_factory=dict)  # outside names with an address of their own
    outside: int = 0  # outside names so far: the resolver's cache has a slot for each
    _numbers: dict[tuple[str, str], int] = field(default_factory=dict)
    _slots: dict[str, int] = field(default_factory=dict)
    _first: list[int] = field(default_factory=lambda: [0])
    _rows: list[list[int]] = field(default_factory=list)

    def number(self, name: str, namespace: str) -> int:
        """Number of a name as a pod of this namespace asks for it."""
        key = (name, namespace)
        if key not in self._numbers:
            self._numbers[key] = len(self._first) - 1
            self._rows += [self._question(full) for full in self.tried(name, namespace)]
            self._first.append(len(self._rows))
        return self._numbers[key]

    def once(self, query: bytes, answer: bytes) -> int:
        """Number of a single question that goes outside and is never cached."""
        first = len(self.messages)
        self.messages += [query, answer]
        self._rows.append([first, first + 1, -1, -1, NEVER_CACHED])
        self._first.append(len(self._rows))
        return len(self._first) - 2

    def forget(self) -> None:
        """Drop all names; messages stay, because packets may still point to them."""
        self._numbers, self._first, self._rows = {}, [0], []

    def questions(self) -> Questions:
        """All names so far."""
        return Questions(np.array(self._first), np.array(self._rows, dtype=np.int64).reshape(-1, 5))

    def tried(self, name: str, namespace: str) -> list[str]:
        """Full names asked for in turn, up to the first that exists (resolv.conf: search, ndots)."""
        dns = self.layout.cluster.dns
        found = []
        domains = [f"{namespace}.svc.{CLUSTER_ZONE}", *dns.search] if name.count(".") < dns.ndots else []
        for full in [*(f"{name}.{domain}" for domain in domains), name]:
            found.append(full)
            if self._address(full) is not None:
                break
        return found

    def _address(self, full: str) -> str | None:
        """Service address or outside address; None for a name of the cluster zone that does not exist."""
        if not full.endswith(CLUSTER_ZONE):
            return f"192.0.2.{1 + hashlib.sha256(full.encode()).digest()[0] % 50}"
        service, _, rest = full.partition(".")
        namespace = SYSTEM if service == KUBE_DNS else self.layout.app.namespace
        if service in self.layout.service_ip and rest == f"{namespace}.svc.{CLUSTER_ZONE}":
            return str(IPv4Address(self.layout.service_ip[service]))
        return None

    def _question(self, full: str) -> list[int]:
        name, address = full.encode(), self._address(full)
        outside = not full.endswith(CLUSTER_ZONE)
        zone = b"" if outside else CLUSTER_ZONE.encode()
        ttl_s = OUTSIDE_TTL_S if outside else SERVICE_TTL_S
        if address is None:
            a, aaaa = (response_message(name, t, code=NAME_ERROR, zone=zone, ttl_s=ttl_s) for t in ("A", "AAAA"))
        else:
            host = self._host(full)
            a = response_message(name, "A", answers=[address_data(host or address)], ttl_s=ttl_s)
            aaaa = response_message(name, "AAAA", zone=zone or b"example", ttl_s=ttl_s)
        slot = self._slots.setdefault(full, len(self._slots)) if outside else INSIDE
        self.outside = len(self._slots)
        first = len(self.messages)
        self.messages += [query_message(name, "A"), a, query_message(name, "AAAA"), aaaa]
        return [first, first + 1, first + 2, first + 3, slot]

    def _host(self, full: str) -> str | None:
        """Address of an external service of the application, or of `hosts`, if the name is one."""
        if full in self.hosts:
            return self.hosts[full]
        for service in self.layout.app.services.values():
            if service.kind == "external" and service.host == full:
                return service.address
        return None
