"""Sockets in namespaces: where each pod, the node and the outside connect from and listen."""

from __future__ import annotations

import asyncio
import socket
import struct
import time
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any
from weakref import WeakSet

import numpy as np

from mimir.cluster.netns.dns import Stub
from mimir.cluster.netns.kernel import Namespace
from mimir.cluster.netns.layout import DNS_PORT, KUBE_DNS, Layout, Pod
from mimir.cluster.netns.network import Network
from mimir.cluster.netns.real.doors import bind_as_agent

_TRY_S = 0.1
Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Coroutine[Any, Any, None]]


class Host:
    """One end of connections: a namespace, and an address to connect from where it has several."""

    def __init__(self, namespace: Namespace, source: str = ""):
        self.namespace, self._source = namespace, source
        self.address = source  #: own address, where it has one

    def _socket(self, kind: int) -> socket.socket:
        with self.namespace:
            made = socket.socket(socket.AF_INET, kind)
        made.setblocking(False)
        return made

    def bound(self, kind: int, port: int, address: str = "0.0.0.0") -> socket.socket:  # noqa: S104
        """A bound socket; in a pod's namespace every address is the pod's own."""
        made = self._socket(kind)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind((address, port))
        if kind == socket.SOCK_STREAM:
            made.listen(512)
        return made

    async def listen(self, serve: Serve, port: int, address: str = "0.0.0.0") -> asyncio.Server:  # noqa: S104
        """Serve TCP connections."""
        return await asyncio.start_server(serve, sock=self.bound(socket.SOCK_STREAM, port, address))

    async def connect(
        self, address: str, port: int, *, agent: bool = False, announce: Callable[[str, int], None] | None = None
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A TCP connection; `agent`: one that doors know. `announce` is told its own end before it is made.

        OSError when it is refused.
        """
        made = self._socket(socket.SOCK_STREAM)
        try:
            made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if agent:
                bind_as_agent(made, self._source)
            elif self._source or announce:
                made.bind((self._source, 0))
            if announce:
                announce(self._source or self.address, made.getsockname()[1])
            await asyncio.get_running_loop().sock_connect(made, (address, port))
            return await asyncio.open_connection(sock=made)
        except BaseException:
            made.close()
            raise

    def raw_icmp(self) -> socket.socket:
        """A raw socket for ICMP; needs the rights of root in the testbed's own user namespace, which it has."""
        with self.namespace:
            made = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
        made.setblocking(False)
        return made

    def datagrams(self, address: str, port: int) -> socket.socket:
        """A UDP socket connected to one address."""
        made = self._socket(socket.SOCK_DGRAM)
        made.connect((address, port))
        return made


class PodHost(Host):
    """A pod: a host whose names are looked up through the service address of kube-dns."""

    def __init__(self, pod: Pod, namespace: Namespace, layout: Layout):
        super().__init__(namespace)
        self.pod, self.address, self.gone = pod, pod.ip, False
        self._servers: list[asyncio.Server] = []
        self._open: WeakSet[asyncio.StreamWriter] = WeakSet()
        spec = layout.app.services.get(pod.service)
        self.dns_service = layout.service_ip[KUBE_DNS]
        self.stub = Stub(
            layout, pod.namespace, spec.dns_cache_s if spec else 0, partial(self.datagrams, self.dns_service, DNS_PORT)
        )

    async def listen(self, serve: Serve, port: int, address: str = "0.0.0.0") -> asyncio.Server:  # noqa: S104
        """Serve TCP connections until the pod ends."""

        async def kept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            self._open.add(writer)
            await serve(reader, writer)

        server = await super().listen(kept, port, address)
        self._servers.append(server)
        if self.gone:
            server.close()
        return server

    async def connect(
        self, address: str, port: int, *, agent: bool = False, announce: Callable[[str, int], None] | None = None
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """As `Host.connect`. OSError when it is refused, or the pod is gone."""
        if self.gone:
            raise ConnectionAbortedError(f"{self.pod.name} is gone")
        reader, writer = await super().connect(address, port, agent=agent, announce=announce)
        self._open.add(writer)
        return reader, writer

    def end(self, *, reset: bool) -> None:
        """Its process ends: connections are closed, or reset where it was killed; nothing is accepted or made any more."""
        self.gone = True
        for server in self._servers:
            server.close()
        for writer in list(self._open):
            if reset:
                held = writer.get_extra_info("socket")
                if held is not None and held.fileno() >= 0:
                    held.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                writer.transport.abort()
            else:
                writer.close()


class Hosts:
    """All of them. `of` gives those that are ready."""

    def __init__(self, layout: Layout, network: Network):
        self.node, self.outside = Host(network.node, layout.cluster.addresses.node), Host(network.outside)
        self.attacker = Host(network.outside, layout.attacker_ip)
        self.pods = {pod.name: PodHost(pod, network.pods[pod.name], layout) for pod in layout.pods}
        self._ready: dict[str, list[PodHost]] = {}
        for host in self.pods.values():
            self._ready.setdefault(host.pod.service, []).append(host)
        self._outside_namespace, self._layout, self._network = network.outside, layout, network

    def client(self, slot: int) -> Host:
        """The user in a slot."""
        return Host(self._outside_namespace, self._layout.client_ip(slot))

    def of(self, service: str) -> list[PodHost]:
        """Pods of a service that are ready, first come first."""
        return list(self._ready.get(service, ()))

    def some(self, service: str, random: np.random.Generator) -> PodHost | None:
        """One of its pods that are ready, drawn; None where there is none."""
        ready = [host for host in self._ready.get(service, ()) if not host.gone]
        return ready[int(random.integers(len(ready)))] if ready else None

    async def another(self, host: PodHost, random: np.random.Generator) -> PodHost:
        """The pod itself while its process lives, else another one of its service, waited for until there is one."""
        found: PodHost | None = host
        while found is None or found.gone:
            found = self.some(host.pod.service, random)
            if found is None:
                await asyncio.sleep(_TRY_S)
        return found

    @staticmethod
    def replaced(host: PodHost) -> dict[str, Any]:
        """What the timeline says when a leak goes on without a pod that died."""
        return {"ts": time.time(), "service": host.pod.service, "old": host.pod.name}

    def add_beyond(self, address: str) -> None:
        """One more address of the world outside."""
        self._network.add_beyond(self._layout, address)

    def set_ready(self, host: PodHost, ready: bool) -> None:
        """A pod becomes ready, or is about to go."""
        others = [other for other in self._ready.get(host.pod.service, ()) if other is not host]
        self._ready[host.pod.service] = [*others, host] if ready else others
