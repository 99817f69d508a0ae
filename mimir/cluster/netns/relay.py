"""One leak over TCP, hop by hop on real sockets: agents in the pods hold messages and pass them on.

The store's data leaves as `mimir.exfiltration.plan` says. A hop is pushed or pulled (`Carriage`): a puller asks for the next
message and waits for it. Pods are reached through service addresses, or by their own where the incident says so; an agent asked
by mistake has nothing. An agent shares the port of its pod's service: it knows the connections that other agents open. Where a
pod dies its agent's messages die too; the station before it keeps what was not passed on and sends it to another pod.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from mimir.apps.graph import allowed_edges
from mimir.cluster.netns.application import Application
from mimir.cluster.netns.dialects import Ends, Server
from mimir.cluster.netns.hosts import PodHost
from mimir.cluster.netns.tasks import BROKEN
from mimir.cluster.netns.ways import Connection, Ways
from mimir.exfiltration.paths import Carriage, carriages
from mimir.exfiltration.plan import Incident, stolen_bytes
from mimir.spec.exfiltration import ExfiltrationSpec
from mimir.units import NS_PER_S

_RELAY_S, _RELAY_SIGMA = 0.04, 0.8  # from having a message to passing it on: relays poll
_TRY_S = 0.06  # between two tries to reach the pod that has the data
_CONFIRM_S = 5.0  # until a message that nobody acknowledges is sent again

Message = tuple[int, bytes]  #: number in the plan, data


@dataclass
class Node:
    """A station of the path: messages it holds, and the pod that holds them once that is known."""

    service: str
    pod: PodHost | None = None
    held: deque[Message] = field(default_factory=deque)
    expected: int = -1  #: number of the message that is being pushed here
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    async def first(self) -> Message:
        """The next message, once there is one."""
        while not self.held:
            await self.wait()
        return self.held[0]

    async def wait(self) -> None:
        """Until messages come or go."""
        self.changed.clear()
        await self.changed.wait()

    def put(self, *messages: Message, front: bool = False) -> None:
        """Messages come; `front`: they had been passed on already."""
        if front:
            self.held.extendleft(reversed(messages))
        else:
            self.held.extend(messages)
        self.changed.set()

    def passed(self) -> None:
        """The first message is at the next station."""
        self.held.popleft()
        self.changed.set()


class Relay:
    """One incident. `run()` ends when every message arrived outside. `data` are its messages, if not the incident's own."""

    def __init__(
        self, spec: ExfiltrationSpec, application: Application, incident: Incident, random: np.random.Generator,
        ways: Ways, data: Iterator[bytes] | None = None, chosen: Mapping[str, PodHost] | None = None,
    ):  # fmt: skip
        self.incident, self._it, self._random, self._ways = incident, application, random, ways
        self._data = stolen_bytes(incident) if data is None else data
        self.nodes = [Node(name) for name in incident.path]
        self._how = carriages(incident.path, allowed_edges(application.app))
        self._speak = [ways.dialect(spec, incident.path, self._how, number) for number in range(len(self._how))]
        for number, node in enumerate(self.nodes[:-1]):
            if self._chooses(number) or chosen:
                node.pod = (chosen or {}).get(node.service) or self._it.hosts.some(node.service, random)
        self._lines: list[Connection | None] = [None] * len(self._how)
        self._left: dict[int, float] = {}
        self._arrived: dict[int, tuple[float, bytes]] = {}
        self._sent: dict[int, bytes] = {}
        self._done, self._begun = asyncio.Event(), False
        self.replaced: list[dict[str, Any]] = []  #: hops that died: ts, service, the pod that died

    @property
    def left(self) -> list[tuple[float, bytes]]:
        """When each message left the store, in the order of the plan."""
        return [(self._left[number], self._sent[number]) for number in sorted(self._left)]

    @property
    def arrived(self) -> list[tuple[float, bytes]]:
        """When each message arrived outside, in the order of the plan."""
        return [self._arrived[number] for number in sorted(self._arrived)]

    @property
    def pods(self) -> tuple[str, ...]:
        """Pod of each station, empty outside."""
        return tuple(node.pod.pod.name if node.pod else "" for node in self.nodes)

    async def run(self) -> None:
        """Act the incident out."""
        self._begun = True
        hops = [asyncio.ensure_future(self._hop(number)) for number in range(len(self._how))]
        done = asyncio.ensure_future(self._done.wait())
        feeding = asyncio.ensure_future(self._feed())
        try:
            await asyncio.wait([done, *hops], return_when=asyncio.FIRST_COMPLETED)
            for hop in hops:
                if hop.done():
                    hop.result()
            for number, line in enumerate(self._lines):
                if line:
                    await line.bye(self._speak[number])
        finally:
            for task in (*hops, done, feeding):
                task.cancel()
            for line in self._lines:
                if line:
                    line.close()

    def gone(self, host: PodHost) -> None:
        """A pod's process has ended: what its agent held is lost, and is sent again by the station before it."""
        for number, node in enumerate(self.nodes[:-1]):
            if node.pod is not host or self._done.is_set():
                continue
            if self._begun:
                self.replaced.append(self._it.hosts.replaced(host))
            if number:
                lost = list(node.held)
                node.held.clear()
                self.nodes[number - 1].put(*lost, front=True)
            node.pod = self._it.hosts.some(node.service, self._random) if self._chooses(number) else None
            for hop in (number - 1, number):
                if hop >= 0 and (line := self._lines[hop]):
                    line.close()
                    self._lines[hop] = None

    def _chooses(self, number: int) -> bool:
        """Is the pod of a station decided here? Otherwise it is the one that the service address leads the first push to."""
        return number == 0 or self._how[number - 1] is Carriage.pull or self.incident.by_pod

    async def _feed(self) -> None:
        for number, (at, data) in enumerate(zip(self.incident.message_ns.tolist(), self._data, strict=True)):
            await asyncio.sleep(max(0.0, (at - time.time_ns()) / NS_PER_S))
            self._sent[number] = data
            self.nodes[0].put((number, data))

    async def _hop(self, number: int) -> None:
        """Carry messages across one hop, one after the other."""
        source, pull = self.nodes[number], self._how[number] is Carriage.pull
        while True:
            message = await source.first()
            if number and not pull:
                await self._pause()
            if not source.held or source.held[0] != message:  # it was taken back meanwhile
                continue
            try:
                await self._cross(number, message)
            except BROKEN:
                self._drop(number)
                await asyncio.sleep(_TRY_S)
                continue
            if source.held and source.held[0] == message:
                source.passed()
            if pull:
                await self._pause()

    async def _cross(self, number: int, message: Message) -> None:
        source, target, speak = self.nodes[number], self.nodes[number + 1], self._speak[number]
        for place, node in ((number, source), (number + 1, target)):
            if self._chooses(place) and (node.pod is None or node.pod.gone):  # nobody else was there when it died
                node.pod = self._it.hosts.some(node.service, self._random)
        line = self._lines[number]
        if line is None or line.used >= self._ways.per_connection(number, len(self._how)):
            if line:
                await line.bye(speak)
            serve = partial(self._serve, number)
            line = self._lines[number] = await self._ways.connect(self, number, self._how[number], speak, serve)
        line.used += 1
        if self._how[number] is Carriage.pull:
            data = await speak.pull(line.ends, message[0])
            self._leave(number, message)
            self._keep(number + 1, (message[0], data), None)
            return
        target.expected = message[0]
        self._leave(number, message)
        await speak.push(line.ends, message[1], message[0])
        async with asyncio.timeout(_CONFIRM_S):
            while not speak.confirmed and target.expected == message[0]:
                await target.wait()

    def _leave(self, number: int, message: Message) -> None:
        if number == 0:
            self._left.setdefault(message[0], time.time())

    def _keep(self, number: int, message: Message, host: PodHost | None) -> None:
        """A message arrived at a station."""
        node = self.nodes[number]
        node.pod = host or node.pod
        if number < len(self.nodes) - 1:
            node.put(message)
            return
        self._arrived.setdefault(message[0], (time.time(), message[1]))
        node.changed.set()
        if len(self._arrived) == len(self.incident.message_ns):
            self._done.set()

    async def _serve(self, hop: int, host: PodHost | None, ends: Ends) -> None:
        """The server's end of a connection that this relay opened: an agent in a pod, or the collector (host None)."""
        pulled = self._how[hop] is Carriage.pull
        node = self.nodes[hop if pulled else hop + 1]

        def take(data: bytes) -> None:
            number, node.expected = node.expected, -1
            if number >= 0:
                self._keep(hop + 1, (number, data), host)
            node.changed.set()

        async def give() -> bytes | None:
            return (await node.first())[1] if node.pod is host else None

        async def given() -> None:
            message = node.held[0] if node.held else None
            while node.held and node.held[0] == message:
                await node.wait()

        await self._speak[hop].serve(ends, Server(take, give, given, pulled))

    async def _pause(self) -> None:
        await asyncio.sleep(_RELAY_S * float(self._random.lognormal(0, _RELAY_SIGMA)))

    def _drop(self, number: int) -> None:
        if line := self._lines[number]:
            line.close()
        self._lines[number] = None
