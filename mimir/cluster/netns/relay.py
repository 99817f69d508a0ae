"""One leak over TCP, hop by hop on real sockets: agents in the pods hold messages and pass them on.

The store's data leaves as `mimir.exfiltration.plan` says. A hop is pushed or pulled (`Carriage`): a puller asks for the
next message and waits for it. Pods are reached through service addresses; an agent asked by mistake has nothing (404).
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field

import numpy as np

from mimir.apps.graph import allowed_edges
from mimir.cluster.netns.application import Application
from mimir.cluster.netns.hosts import Host, PodHost
from mimir.cluster.netns.lines import Streams
from mimir.cluster.netns.serving import missing, serve_connection
from mimir.cluster.netns.tasks import BROKEN
from mimir.cluster.netns.wire import Asked, read_http
from mimir.exfiltration.channels import http_relay, raw_tcp
from mimir.exfiltration.paths import OUTSIDE, Carriage, carriages
from mimir.exfiltration.plan import Incident, stolen_bytes
from mimir.spec.exfiltration import ExfiltrationSpec
from mimir.units import NS_PER_S

_RELAY_S, _RELAY_SIGMA = 0.04, 0.8  # from having a message to passing it on: relays poll
_TRY_S = 0.06  # between two tries to reach the pod that has the data
_SESSION = int.from_bytes(raw_tcp.MAGIC)
COLLECTOR_PORT = 443


class NothingHereError(ConnectionError):
    """The pod that was reached holds no message of this leak."""


@dataclass
class Node:
    """A station of the path: messages it holds, and the pod that holds them once that is known."""

    service: str
    held: asyncio.Queue[bytes] = field(default_factory=asyncio.Queue)
    pod: PodHost | None = None


class Relay:
    """One incident. `run()` ends when every message arrived outside."""

    def __init__(
        self, spec: ExfiltrationSpec, application: Application, incident: Incident, random: np.random.Generator
    ):
        self.incident, self._spec, self._it, self._random = incident, spec, application, random
        self._raw = spec.channel == "raw_tcp"
        self.nodes = [Node(name) for name in incident.path]
        self._how = carriages(incident.path, allowed_edges(application.app))
        for number, node in enumerate(self.nodes[:-1]):
            pushed_to = number > 0 and self._how[number - 1] is not Carriage.pull
            hosts = application.hosts.of(node.service)
            node.pod = None if pushed_to else hosts[int(random.integers(len(hosts)))]
        self.left: list[tuple[float, bytes]] = []
        self.arrived: list[tuple[float, bytes]] = []

    @property
    def pods(self) -> tuple[str, ...]:
        """Pod of each station, empty outside."""
        return tuple(node.pod.pod.name if node.pod else "" for node in self.nodes)

    async def run(self) -> None:
        """Act the incident out."""
        for number, node in enumerate(self.nodes[:-1]):
            for host in self._it.hosts.of(node.service):
                self._it.agents[host.pod.name] = Station(self, number, host)
        if self._how[-1] is not Carriage.pull:
            sink, port = self._it.layout.cluster.addresses.sink, self._spec.port or COLLECTOR_PORT
            station = Station(self, len(self.nodes) - 1, None)
            server = await self._it.hosts.outside.listen(station.serve, port, sink)
        else:
            server = None
        hops = [asyncio.ensure_future(self._hop(number)) for number in range(len(self._how))]
        try:
            await self._feed()
            await asyncio.gather(*hops)
        finally:
            for hop in hops:
                hop.cancel()
            for node in self.nodes[:-1]:
                for host in self._it.hosts.of(node.service):
                    self._it.agents.pop(host.pod.name, None)
            if server:
                server.close()

    def hand_over(self, number: int) -> bool:
        """Does station `number` give its messages away when asked?"""
        return number < len(self._how) and self._how[number] is Carriage.pull

    async def next(self, number: int) -> bytes:
        """The next message of a station, once it has one."""
        data = await self.nodes[number].held.get()
        if number == 0:
            self.left.append((time.time(), data))
        return data

    def keep(self, number: int, data: bytes, host: PodHost | None) -> None:
        """A message arrived at a station."""
        self.nodes[number].pod = host or self.nodes[number].pod
        if number == len(self.nodes) - 1:
            self.arrived.append((time.time(), data))
        self.nodes[number].held.put_nowait(data)

    async def _feed(self) -> None:
        for at, data in zip(self.incident.message_ns.tolist(), stolen_bytes(self.incident), strict=True):
            await asyncio.sleep(max(0.0, (at - time.time_ns()) / NS_PER_S))
            self.nodes[0].held.put_nowait(data)

    async def _hop(self, number: int) -> None:
        pull = self._how[number] is Carriage.pull
        streams: Streams | None = None
        for sequence in range(len(self.incident.message_ns)):
            data = b"" if pull else await self.next(number)
            if not pull and number:
                await asyncio.sleep(_RELAY_S * float(self._random.lognormal(0, _RELAY_SIGMA)))
            while True:
                try:
                    streams = streams or await self._connect(number)
                    got = await self._exchange(streams, number, sequence, data)
                    break
                except BROKEN:
                    if streams:
                        streams[1].close()
                    streams = None
                    await asyncio.sleep(_TRY_S)
            if pull:
                self.keep(number + 1, got, None)
                await asyncio.sleep(_RELAY_S * float(self._random.lognormal(0, _RELAY_SIGMA)))
        if streams:
            streams[1].close()

    async def _connect(self, number: int) -> Streams:
        source, target = self.nodes[number], self.nodes[number + 1]
        client, server = (target, source) if self._how[number] is Carriage.pull else (source, target)
        if client.service == OUTSIDE:
            return await self._from_outside(server.service)
        assert client.pod is not None
        if server.service == OUTSIDE:
            port = self._spec.port or COLLECTOR_PORT
            return await client.pod.connect(self._it.layout.cluster.addresses.sink, port)
        return await self._it.reach(client.pod, server.service, agent=server.service in self._it.real)

    async def _from_outside(self, service: str) -> Streams:
        host: Host = self._it.hosts.attacker
        spec, layout = self._it.app.services[service], self._it.layout
        address = layout.cluster.addresses.node if spec.node_port else layout.service_ip[service]
        return await host.connect(address, spec.node_port or spec.port, agent=service in self._it.real)

    async def _exchange(self, streams: Streams, number: int, sequence: int, data: bytes) -> bytes:
        """Push `data` or, when it is empty, pull the next message. NothingHereError from a pod without any."""
        reader, writer = streams
        if self._raw:
            if not data:
                writer.write(raw_tcp.acknowledgement(_SESSION, sequence))
                return (await read_frame(reader, b""))[1]
            writer.write(raw_tcp.frame(data, _SESSION, sequence))
            await reader.readexactly(raw_tcp.ACKNOWLEDGEMENT_BYTES)
            return b""
        body = self._spec.body
        if data:
            content = http_relay.write_body(data, body)
            writer.write(http_relay.post_head(self.nodes[number + 1].service, len(content), body) + content)
        else:
            writer.write(http_relay.get_head(self.nodes[number].service))
        head, content = await read_http(reader)
        if b" 404 " in head[:20]:
            raise NothingHereError
        return b"" if data else http_relay.read_body(content, body)


class Station:
    """The agent in one pod of a station (or the collector outside): what it answers."""

    def __init__(self, relay: Relay, number: int, host: PodHost | None):
        self._relay, self._number, self._host = relay, number, host

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Connections to the collector."""

        async def nothing(asked: Asked) -> int:
            return len(missing())

        try:
            await serve_connection(reader, writer, "http", nothing, self)
        except BROKEN:
            pass
        finally:
            writer.close()

    async def http(self, method: str, body: bytes) -> bytes:
        """GET hands the next message over, POST takes one."""
        relay, how = self._relay, self._relay._spec.body
        if method == "POST":
            relay.keep(self._number, http_relay.read_body(body, how), self._host)
            return http_relay.response_head(0, how)
        if not self._has:
            return missing()
        content = http_relay.write_body(await relay.next(self._number), how)
        return http_relay.response_head(len(content), how) + content

    async def raw(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, first: bytes) -> None:
        """Hand frames over when acknowledged, or take and acknowledge them."""
        relay, sequence = self._relay, 0
        if relay.hand_over(self._number):
            while self._has:
                await reader.readexactly(raw_tcp.ACKNOWLEDGEMENT_BYTES - len(first))
                first = b""
                writer.write(raw_tcp.frame(await relay.next(self._number), _SESSION, sequence))
                sequence += 1
            return
        while True:
            number, data = await read_frame(reader, first)
            first = b""
            relay.keep(self._number, data, self._host)
            writer.write(raw_tcp.acknowledgement(_SESSION, number))

    @property
    def _has(self) -> bool:
        """Is this the pod that holds the messages?"""
        return self._relay.hand_over(self._number) and self._relay.nodes[self._number].pod is self._host


async def read_frame(reader: asyncio.StreamReader, first: bytes) -> tuple[int, bytes]:
    """(sequence number, data) of the next raw_tcp frame, of which `first` was read already."""
    head = first + await reader.readexactly(raw_tcp.FRAME_BYTES - len(first))
    size = int.from_bytes(head[-4:])
    messages, _ = raw_tcp.unframe(head + await reader.readexactly(size))
    return messages[0][1], messages[0][2]
