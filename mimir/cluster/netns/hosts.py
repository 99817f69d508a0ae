"""Sockets in namespaces: where each pod, the node and the outside connect from and listen."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

from mimir.cluster.netns.dns import Stub
from mimir.cluster.netns.kernel import Namespace
from mimir.cluster.netns.layout import DNS_PORT, KUBE_DNS, Layout, Pod
from mimir.cluster.netns.network import Network
from mimir.cluster.netns.real.doors import bind_as_agent

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Coroutine[Any, Any, None]]


class Host:
    """One end of connections: a namespace, and an address to connect from where it has several."""

    def __init__(self, namespace: Namespace, source: str = ""):
        self.namespace, self._source = namespace, source

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
        self, address: str, port: int, *, agent: bool = False
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A TCP connection; `agent`: one that doors know. OSError when it is refused."""
        made = self._socket(socket.SOCK_STREAM)
        try:
            made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if agent:
                bind_as_agent(made, self._source)
            elif self._source:
                made.bind((self._source, 0))
            await asyncio.get_running_loop().sock_connect(made, (address, port))
            return await asyncio.open_connection(sock=made)
        except BaseException:
            made.close()
            raise

    def datagrams(self, address: str, port: int) -> socket.socket:
        """A UDP socket connected to one address."""
        made = self._socket(socket.SOCK_DGRAM)
        made.connect((address, port))
        return made


class PodHost(Host):
    """A pod: a host whose names are looked up through the service address of kube-dns."""

    def __init__(self, pod: Pod, namespace: Namespace, layout: Layout):
        super().__init__(namespace)
        self.pod = pod
        spec = layout.app.services.get(pod.service)
        self.dns_service = layout.service_ip[KUBE_DNS]
        self.stub = Stub(
            layout, pod.namespace, spec.dns_cache_s if spec else 0, partial(self.datagrams, self.dns_service, DNS_PORT)
        )


class Hosts:
    """All of them."""

    def __init__(self, layout: Layout, network: Network):
        self.node, self.outside = Host(network.node, layout.cluster.addresses.node), Host(network.outside)
        self.attacker = Host(network.outside, layout.attacker_ip)
        self.pods = {pod.name: PodHost(pod, network.pods[pod.name], layout) for pod in layout.pods}
        self._outside_namespace, self._layout = network.outside, layout

    def client(self, slot: int) -> Host:
        """The user in a slot."""
        return Host(self._outside_namespace, self._layout.client_ip(slot))

    def of(self, service: str) -> list[PodHost]:
        """Pods of a service, in order."""
        return [self.pods[pod.name] for pod in self._layout.pods_of(service)]
