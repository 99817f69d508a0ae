"""The leaks of a recording acted out in real time, and the ledger of what really arrived."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from typing import Any

import numpy as np

from mimir.apps.graph import allowed_edges
from mimir.cluster.base import RecordingOrder
from mimir.cluster.netns.application import Application
from mimir.cluster.netns.dns import Outside
from mimir.cluster.netns.echoes import Echoes
from mimir.cluster.netns.fan import Fan
from mimir.cluster.netns.hosts import PodHost
from mimir.cluster.netns.layout import DNS_PORT
from mimir.cluster.netns.relay import Relay
from mimir.cluster.netns.tools import ToolAct
from mimir.cluster.netns.ways import Ways
from mimir.exfiltration.channels import dns_tunnel
from mimir.exfiltration.channels.tools import TOOLS
from mimir.exfiltration.ledger import LedgerEntry
from mimir.exfiltration.plan import Incident, World, digest, plan_incidents, stolen_bytes
from mimir.load.profile import users_at
from mimir.spec import Spec
from mimir.spec.exfiltration import DnsTunnelSpec
from mimir.units import NS_PER_S

_GAP_S = 0.02  # between the names of one message
_POINT_S = 1.0
_BEFORE_S = 2.0  # agents take their places before an incident begins


class Tunnel:
    """One incident in DNS: the store asks for names that are the data, on one socket."""

    def __init__(
        self,
        spec: DnsTunnelSpec,
        application: Application,
        incident: Incident,
        random: np.random.Generator,
        outside: Outside,
    ):
        self.incident, self._spec, self._outside = incident, spec, outside
        self._hosts, self._resolver = application.hosts, application.layout.cluster.addresses.resolver
        stores = application.hosts.of(incident.path[0])
        self._store: PodHost = stores[int(random.integers(len(stores)))]
        self._random, self._channel = random, self._socket()
        self._session = int(random.integers(1 << 16))
        self._first = self._last = 0
        self.left: list[tuple[float, bytes]] = []
        self.replaced: list[dict[str, Any]] = []  #: as of `Relay`

    @property
    def pods(self) -> tuple[str, ...]:
        """The store's pod and the one of kube-dns that its names went through."""
        heard = self._outside.heard[self._first : self._last]
        if len(self.incident.path) == 2:
            return (self._store.pod.name, "")
        return (self._store.pod.name, self._outside.through.get(heard[0][1].lower(), "") if heard else "", "")

    def gone(self, host: PodHost) -> None:
        """A pod's process has ended: the next name is asked by another one, on a socket of its own."""

    def _socket(self) -> socket.socket:
        direct = self._spec.resolver == "direct"
        return self._store.datagrams(self._resolver if direct else self._store.dns_service, DNS_PORT)

    async def run(self) -> None:
        """Ask for every name."""
        self._first, sequence = len(self._outside.heard), 0
        if self._store.gone:  # nothing left it yet
            await self._move()
        for at, data in zip(self.incident.message_ns.tolist(), stolen_bytes(self.incident), strict=True):
            await asyncio.sleep(max(0.0, (at - time.time_ns()) / NS_PER_S))
            self.left.append((time.time(), data))
            for name in dns_tunnel.encode(data, self._spec, self._session, sequence):
                sequence += 1
                await self._ask(name)
                await asyncio.sleep(_GAP_S)
        self._channel.close()
        self._last = len(self._outside.heard)

    async def _move(self) -> None:
        self._store = await self._hosts.another(self._store, self._random)
        self._channel.close()
        self._channel = self._socket()

    async def _ask(self, name: bytes) -> None:
        """Ask for a name until that is answered, or nobody's pod died meanwhile."""
        answered = False
        while not answered:
            if self._store.gone:
                self.replaced.append(self._hosts.replaced(self._store))
                await self._move()
            with suppress(OSError):  # its link is gone
                answered = await self._store.stub.query(self._channel, name, self._spec.record_type) is not None
            answered = answered or not self._store.gone

    @property
    def arrived(self) -> list[tuple[float, bytes]]:
        """When each piece of data was first heard outside."""
        seen: dict[bytes, tuple[float, bytes]] = {}
        for at, name in self._outside.heard[self._first : self._last]:
            if name.lower() not in seen:
                seen[name.lower()] = (at, dns_tunnel.decode([name], self._spec))
        return list(seen.values())


Act = Relay | Fan | Tunnel | Echoes | ToolAct


class Leaks:
    """All incidents of one recording."""

    def __init__(
        self, spec: Spec, order: RecordingOrder, start_s: int, application: Application, outside: Outside,
        seed: np.random.SeedSequence,
    ):  # fmt: skip
        world = World(allowed_edges(spec.app), partial(users_at, spec.load.of(order.name)), order.baseline)
        incidents = plan_incidents(spec.exfiltration, start_s, order.duration_s, order.entropy, world)
        own = seed.spawn(len(incidents))
        self._recording = order.name
        self._spec, self._it, self._outside, self._seed = spec.exfiltration, application, outside, seed
        self._ways, self._relays = Ways(spec.exfiltration, application), 0
        self._over: list[Act] = []  # their ledgers are closed
        self.acts = [self._act(i, np.random.default_rng(s)) for i, s in zip(incidents, own, strict=True)]

    def _act(self, incident: Incident, random: np.random.Generator) -> Act:
        """Who acts an incident out."""
        spec, it = self._spec, self._it
        if spec.channel in TOOLS:
            return ToolAct(spec, it, incident, random, self._outside)
        if spec.channel == "dns_tunnel" and spec.dns:
            return Tunnel(spec.dns, it, incident, random, self._outside)
        if spec.channel == "icmp" and spec.icmp:
            return Echoes(spec.icmp, it, incident, random)
        if spec.fan and incident.branches:
            return Fan(it.hosts, incident, spec.fan.kind, self._relay, random)
        return self._relay(incident, None, None)

    def _relay(self, incident: Incident, data: Iterator[bytes] | None, chosen: dict[str, PodHost] | None) -> Relay:
        self._relays += 1
        return Relay(
            self._spec, self._it, incident, np.random.default_rng(self._seed.spawn(1)[0]), self._ways, data, chosen
        )

    async def run(self) -> None:
        """Act them out one after the other; they never overlap."""
        if self._relays:
            if cloud := self._spec.cloud:
                self._outside.names[cloud.host] = cloud.address
                self._it.hosts.add_beyond(cloud.address)
            await self._ways.open()
        try:
            for act in self.acts:
                await asyncio.sleep(max(0.0, act.incident.start_s - time.time() - _BEFORE_S))
                await act.run()
                self._over.append(act)
        finally:
            self._ways.close()

    @property
    def replaced(self) -> list[dict[str, Any]]:
        """Hops that died and were replaced: events of the timeline."""
        return [
            {"event": "hop_replaced", "incident": act.incident.name, **event}
            for act in self.acts
            if not isinstance(act, ToolAct)
            for event in act.replaced
        ]

    def gone(self, host: PodHost) -> None:
        """A pod's process has ended: agents in it are gone, and what they held."""
        for act in self.acts:
            if act not in self._over:
                act.gone(host)

    def ledger(self) -> list[LedgerEntry]:
        """What really happened, for every incident that began."""
        return [_entry(act, self._recording) for act in self.acts]


def _entry(act: Act, recording: str) -> LedgerEntry:
    incident, arrived, left = act.incident, act.arrived, act.left
    points, total, last_s = [], 0, 0.0
    for number, (at, data) in enumerate(sorted(arrived, key=lambda piece: piece[0])):
        total += len(data)
        if at - last_s >= _POINT_S or number == len(arrived) - 1:
            points.append((at, total))
            last_s = at
    start_s = min((at for at, _ in left), default=incident.start_s)
    return LedgerEntry(
        incident=incident.name, recording=recording, start=start_s, end=points[-1][0] if points else start_s,
        channel=incident.channel, technique=incident.technique, path_class=incident.path_class, path=incident.path,
        pods=act.pods, bytes_intended=incident.bytes_intended, bytes_delivered=total,
        sha256_sent=digest(data for _, data in left), sha256_received=digest(data for _, data in arrived),
        delivered=tuple(points),
    )  # fmt: skip
