"""A leak in DNS: the store asks for names that are the data, kube-dns (which asks outside) or the outside resolver itself."""

from __future__ import annotations

from itertools import islice

import numpy as np

from mimir.cluster.simulated import datagrams
from mimir.cluster.simulated.layout import DNS_PORT, KUBE_DNS, Layout
from mimir.cluster.simulated.names import Names
from mimir.cluster.simulated.player import Player, no_lookups
from mimir.cluster.simulated.resolve import AT, NAME, POD, PORT, SERVER
from mimir.exfiltration.channels import dns_tunnel
from mimir.exfiltration.dns_messages import query_message
from mimir.exfiltration.plan import Incident, stolen_bytes
from mimir.spec.exfiltration import DnsTunnelSpec

_GAP_NS = 20_000_000  # between the names of one message


class Tunnel:
    """One incident in DNS. The store keeps one socket, so all its queries reach the same kube-dns pod, if any."""

    def __init__(
        self,
        spec: DnsTunnelSpec,
        layout: Layout,
        incident: Incident,
        names: Names,
        player: Player,
        seed: np.random.SeedSequence,
    ):
        random = np.random.default_rng(seed)
        self.incident, self._spec, self._names, self._player = incident, spec, names, player
        store, resolver = layout.pods_of(incident.path[0]), layout.pods_of(KUBE_DNS)
        pod, self._server = store[random.integers(len(store))], int(random.integers(len(resolver)))
        self._direct = spec.resolver == "direct"
        self.pods = (pod.name, "") if self._direct else (pod.name, resolver[self._server].name, "")
        self._pod, self._layout, self._random = layout.pods.index(pod), layout, random
        self._session, self._port = int(random.integers(1 << 16)), 32_768 + int(random.integers(28_232))
        self._played = 0
        self._data = stolen_bytes(incident)
        self.sent: list[bytes] = []  # names, in order
        self._message_of: list[int] = []
        self._left_ns: list[int] = []

    def advance(self, until_ns: int) -> None:
        """Ask for the names of the messages that leave the store before `until_ns`."""
        due = range(self._played, int(np.searchsorted(self.incident.message_ns, until_ns)))
        self._played = due.stop
        self._names.forget()
        asked: list[tuple[int, bytes, bytes]] = []
        for message, data in zip(due, islice(self._data, len(due)), strict=True):
            names = dns_tunnel.encode(data, self._spec, self._session, len(self.sent))
            for k, name in enumerate(names):
                at = int(self.incident.message_ns[message]) + k * _GAP_NS
                asked.append((at, query_message(name, self._spec.record_type), dns_tunnel.answer(name, self._spec)))
            self.sent += names
            self._message_of += [message] * len(names)
        self._left_ns += self._ask_outside(asked) if self._direct else self._ask_cluster(asked)

    def _ask_cluster(self, asked: list[tuple[int, bytes, bytes]]) -> list[int]:
        """Queries through kube-dns (time, query, answer); when each left the node, 0 if it never did."""
        rows = [(at, self._names.once(query, answer)) for at, query, answer in asked]
        lookups = no_lookups(len(rows))
        if rows:
            lookups[:, [AT, NAME]] = rows
            lookups[:, POD], lookups[:, SERVER], lookups[:, PORT] = self._pod, self._server, self._port
        return [int(at) for at in self._player.resolve(lookups)]

    def _ask_outside(self, asked: list[tuple[int, bytes, bytes]]) -> list[int]:
        """The same straight to the outside resolver."""
        messages, count = self._names.messages, len(asked)
        first = len(messages) + 2 * np.arange(count)
        messages += [message for _, query, answer in asked for message in (query, answer)]
        sizes = np.array([[len(query), len(answer)] for _, query, answer in asked], dtype=np.int64).reshape(-1, 2)
        transactions = self._random.integers(0, 1 << 16, count)
        at_ns = np.array([at for at, _, _ in asked], dtype=np.int64)
        told = datagrams.Exchanges(at_ns, sizes[:, 0], sizes[:, 1], first, first + 1, transactions)
        far, life = (self._layout.number("resolver"), DNS_PORT), self._layout.roster.lives[self._pod]
        rows, left = datagrams.play(told, life, self._layout, far, self._port, self._random)
        self._player.add(rows)
        return [int(at) for at in left]

    @property
    def left_ns(self) -> list[int]:
        """When each message left the store: with its first name."""
        return [int(at) for at in self.incident.message_ns[: self._played]]

    @property
    def arrived_ns(self) -> list[int]:
        """When the last name of each message left the node; 0 if it never did."""
        return datagrams.arrivals(self._played, self._message_of, self._left_ns)

    def received(self, before_ns: int) -> bytes:
        """The data in the names that left the node before `before_ns`."""
        names = [name for name, at in zip(self.sent, self._left_ns, strict=True) if 0 < at < before_ns]
        return dns_tunnel.decode(names, self._spec) if names else b""
