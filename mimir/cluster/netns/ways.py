"""Connections of a leak's hops: who connects where, in which dialect, inside TLS or not; and who answers them."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from mimir.cluster.netns.application import Application
from mimir.cluster.netns.dialects import Dialect, Ends, Headers, Http, Pages, Upload
from mimir.cluster.netns.dialects_raw import Frames, Mail, Raw
from mimir.cluster.netns.hosts import PodHost
from mimir.cluster.netns.lines import Streams
from mimir.cluster.netns.tasks import BROKEN
from mimir.cluster.netns.tls import Certificate, Secure, make_certificate
from mimir.exfiltration.channels import cloud_storage
from mimir.exfiltration.paths import OUTSIDE, Carriage
from mimir.exfiltration.plan import Incident
from mimir.spec.exfiltration import ExfiltrationSpec

COLLECTOR_PORT = 443
_GOODBYE_S = 1.0
Serve = Callable[[PodHost | None, Ends], Awaitable[None]]
Answer = Callable[[PodHost | None, Streams], Awaitable[None]]


class Station(Protocol):
    """A station of a path, as far as connections need it."""

    service: str
    pod: PodHost | None


class Path(Protocol):
    """A relay, as far as connections need it."""

    incident: Incident

    @property
    def nodes(self) -> Sequence[Station]:
        """Stations, store first."""
        ...


@dataclass
class Connection:
    """An open connection of a hop and how many messages it carried."""

    ends: Ends
    used: int = 0

    async def bye(self, speak: Dialect) -> None:
        """Say goodbye as the channel does, and close."""
        try:
            async with asyncio.timeout(_GOODBYE_S):
                await speak.bye(self.ends)
        except BROKEN:
            pass
        self.close()

    def close(self) -> None:
        """Close it."""
        self.ends[1].close()


class Ways:
    """All connections of a scenario's leaks. Agents know each other's connections by their source addresses."""

    def __init__(self, spec: ExfiltrationSpec, application: Application):
        self._spec, self._it = spec, application
        self._certificate: Certificate | None = None
        self._sessions: dict[tuple[str, int], ssl.SSLSession | None] = {}
        self._collector: asyncio.Server | None = None
        self._agents: dict[tuple[str, int], Answer] = {}  # as Application.agents, for what reaches the collector

    def dialect(self, spec: ExfiltrationSpec, path: tuple[str, ...], how: list[Carriage], number: int) -> Dialect:
        """What is spoken on hop `number`."""
        host, last = path[number if how[number] is Carriage.pull else number + 1], number == len(how) - 1
        if spec.channel == "cloud_storage" and spec.cloud and last:
            return Upload(spec.cloud)
        if spec.channel == "response_stuffing" and spec.stuffing and last:
            return Pages(host, spec.stuffing)
        if spec.channel == "smtp" and spec.smtp:
            return Mail(host, spec.smtp)
        plain = {"raw_tcp": Raw, "drip": Frames, "slow_headers": Headers}.get(spec.channel)
        return plain(host) if plain else Http(host, spec.body)

    def per_connection(self, number: int, hops: int) -> int:
        """Messages that share a connection of a hop."""
        tls, smtp = self._spec.tls, self._spec.smtp
        if tls and self._in_tls(number == hops - 1):
            return tls.messages_per_connection
        return smtp.messages_per_connection if smtp else 1 << 60

    async def open(self) -> None:
        """The collector outside begins to listen. OSError when its port is taken."""
        cloud, addresses = self._spec.cloud, self._it.layout.cluster.addresses
        address, port = (
            (cloud.address, cloud_storage.PORT) if cloud else (addresses.sink, self._spec.port or COLLECTOR_PORT)
        )
        if self._spec.tls:
            self._certificate = make_certificate(cloud.host if cloud else f"{OUTSIDE}.example", self._spec.tls)
        self._collector = await self._it.hosts.outside.listen(self._collect, port, address)

    def close(self) -> None:
        """The collector ends."""
        if self._collector:
            self._collector.close()

    async def connect(self, relay: Path, number: int, how: Carriage, speak: Dialect, serve: Serve) -> Connection:
        """A connection of hop `number`, ready for messages; `serve` is its other end. Raises what a refused one raises."""
        source, target = relay.nodes[number], relay.nodes[number + 1]
        client, server = (target, source) if how is Carriage.pull else (source, target)
        last = number == len(relay.nodes) - 2
        streams = await self._reach(relay, client, server, partial(self._answered, serve, self._in_tls(last)))
        ends: Ends = streams
        try:
            if self._in_tls(last):
                ends = await self._shake_hands(streams, server.service, number)
            await speak.open(ends)
        except BaseException:
            ends[1].close()
            raise
        return Connection(ends)

    async def _reach(self, relay: Path, client: Station, server: Station, answer: Answer) -> Streams:
        it, layout = self._it, self._it.layout
        agent = server.service in it.real
        if client.service == OUTSIDE:
            host = it.hosts.client(0) if self._spec.channel == "response_stuffing" else it.hosts.attacker
            spec = it.app.services[server.service]
            address = layout.cluster.addresses.node if spec.node_port else layout.service_ip[server.service]
            port = spec.node_port or spec.port
            return await _announced(it.agents, answer, "", partial(host.connect, address, port, agent=agent))
        pod = client.pod
        if pod is None:
            raise ConnectionError(f"no pod of {client.service} is there")
        if server.service == OUTSIDE:
            return await self._beyond(pod, answer)
        if not relay.incident.by_pod:
            return await _announced(it.agents, answer, "", partial(it.reach, pod, server.service, agent=agent))
        if server.pod is None:
            raise ConnectionError(f"no pod of {server.service} is there")
        port = it.app.services[server.service].target_port
        return await _announced(it.agents, answer, "", partial(pod.connect, server.pod.pod.ip, port, agent=agent))

    async def _beyond(self, pod: PodHost, answer: Answer) -> Streams:
        """To the collector, or to the storage service under its name; the node's address is what is seen there."""
        cloud, addresses = self._spec.cloud, self._it.layout.cluster.addresses
        address: str | None = addresses.sink
        if cloud and (address := await pod.stub.address(cloud.host)) is None:
            raise ConnectionError(f"{pod.pod.name}: no such host {cloud.host}")
        port = cloud_storage.PORT if cloud else self._spec.port or COLLECTOR_PORT
        return await _announced(self._agents, answer, addresses.node, partial(pod.connect, str(address), port))

    def _in_tls(self, last: bool) -> bool:
        return self._spec.channel == "https" or (self._spec.channel == "cloud_storage" and last)

    async def _shake_hands(self, streams: Streams, server: str, number: int) -> Ends:
        assert self._certificate
        assert self._spec.tls
        host = self._spec.cloud.host if self._spec.cloud else f"{OUTSIDE}.example"
        key = server, number
        session = self._sessions.get(key) if self._spec.tls.resume else None
        secure = Secure(streams, self._certificate.client, host, session)
        await secure.handshake()
        secure.on_ticket = partial(self._sessions.__setitem__, key)
        return secure.reader, secure

    async def _answered(self, serve: Serve, in_tls: bool, host: PodHost | None, streams: Streams) -> None:
        """The server's end of a connection that an agent opened."""
        ends: Ends = streams
        if in_tls:
            assert self._certificate
            secure = Secure(streams, self._certificate.server)
            await secure.handshake()
            ends = secure.reader, secure
        try:
            await serve(host, ends)
        finally:
            ends[1].close()

    async def _collect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """A connection to the collector: the agent that opened it is known by its source port."""
        peer = writer.get_extra_info("peername")
        answer = self._agents.pop(peer, None)
        try:
            if answer:
                await answer(None, (reader, writer))
        except (ssl.SSLError, *BROKEN):
            pass
        finally:
            writer.close()


async def _announced(
    agents: dict[tuple[str, int], Answer], answer: Answer, seen_as: str, connect: Callable[..., Awaitable[Streams]]
) -> Streams:
    """A connection whose other end knows, before it is made, who answers it; `seen_as` is its address there, if not its own."""
    told: list[tuple[str, int]] = []

    def announce(address: str, port: int) -> None:
        told.append((seen_as or address, port))
        agents[told[-1]] = answer

    try:
        return await connect(announce=announce)
    except BaseException:
        for end in told:
            agents.pop(end, None)
        raise
