"""A leak in DNS: the store asks kube-dns for names that are the data, and kube-dns asks the outside resolver."""

from __future__ import annotations

from itertools import islice

import numpy as np

from mimir.cluster.simulated.layout import Layout
from mimir.cluster.simulated.names import Names
from mimir.cluster.simulated.player import Player, no_lookups
from mimir.cluster.simulated.resolve import AT, NAME, POD, PORT, SERVER
from mimir.exfiltration.channels import dns_tunnel
from mimir.exfiltration.dns_messages import query_message
from mimir.exfiltration.plan import Incident, stolen_bytes
from mimir.spec.exfiltration import DnsTunnelSpec

_GAP_NS = 20_000_000  # between the names of one message


class Tunnel:
    """One incident in DNS. The store keeps one socket, so all its queries reach the same kube-dns pod."""

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
        store, resolver = (layout.pods_of(name) for name in incident.path[:2])
        pod, self._server = store[random.integers(len(store))], int(random.integers(len(resolver)))
        self.pods = (pod.name, resolver[self._server].name, "")
        self._pod = layout.pods.index(pod)
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
        rows = []
        for message, data in zip(due, islice(self._data, len(due)), strict=True):
            names = dns_tunnel.encode(data, self._spec, self._session, len(self.sent))
            for k, name in enumerate(names):
                at = int(self.incident.message_ns[message]) + k * _GAP_NS
                number = self._names.once(
                    query_message(name, self._spec.record_type), dns_tunnel.answer(name, self._spec)
                )
                rows.append((at, number))
            self.sent += names
            self._message_of += [message] * len(names)
        lookups = no_lookups(len(rows))
        if rows:
            lookups[:, [AT, NAME]] = rows
            lookups[:, POD], lookups[:, SERVER], lookups[:, PORT] = self._pod, self._server, self._port
        self._left_ns += self._player.resolve(lookups).tolist()

    @property
    def left_ns(self) -> list[int]:
        """When each message left the store: with its first name."""
        return [int(at) for at in self.incident.message_ns[: self._played]]

    @property
    def arrived_ns(self) -> list[int]:
        """When the last name of each message left the node."""
        last = np.zeros(self._played, dtype=np.int64)
        np.maximum.at(last, self._message_of, self._left_ns)
        return [int(at) for at in last]

    def received(self, before_ns: int) -> bytes:
        """The data in the names that left the node before `before_ns`."""
        names = [name for name, at in zip(self.sent, self._left_ns, strict=True) if at < before_ns]
        return dns_tunnel.decode(names, self._spec) if names else b""
