"""Pods that come and go while the testbed runs: a namespace and an address of its own for each, endpoints, connections, the log."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from ipaddress import IPv4Network

import numpy as np

from mimir.cluster.netns.application import Application
from mimir.cluster.netns.around import Around
from mimir.cluster.netns.hosts import PodHost
from mimir.cluster.netns.layout import Layout, Pod
from mimir.cluster.netns.network import Network
from mimir.cluster.pod_names import pod_name
from mimir.cluster.simulated.world import _MOST_DRAIN_S
from mimir.errors import MimirError
from mimir.spec.change import LifecycleSpec


class Fleet:
    """Makes and removes pods. `events` is what really happened: (UTC epoch s, added or deleted, pod)."""

    def __init__(
        self, layout: Layout, network: Network, application: Application, around: Around, random: np.random.Generator
    ):
        self._layout, self._network, self._around, self._random = layout, network, around, random
        self.application, self.hosts = application, application.hosts
        self._spec: LifecycleSpec = layout.cluster.pods
        self._count = {name: len(layout.pods_of(name)) for name in application.app.services}
        self._template = dict.fromkeys(application.app.services, 1)
        self._addresses = IPv4Network(layout.cluster.addresses.pods)
        self._next, self._taken = len(layout.pods), {pod.ip for pod in layout.pods}
        self.coming: list[PodHost] = []  #: created, not ready yet
        self.events: list[tuple[float, str, Pod]] = [(network.born_s[pod.name], "added", pod) for pod in layout.pods]
        self.followers: list[Callable[[PodHost], None]] = []  #: called when a pod's process has ended

    def present(self, service: str) -> list[PodHost]:
        """Pods of a service that stay, ready or not, first come first."""
        return [*self.hosts.of(service), *(host for host in self.coming if host.pod.service == service)]

    def renew(self, service: str) -> None:
        """Pods made from now on are of a new version."""
        self._template[service] += 1

    async def add(self, service: str) -> PodHost:
        """A new pod; returns when it is ready and reached through the service address, or went before that."""
        with self.application.unrest.change():
            host = self.create(service)
            await self.start(host)
        return host

    def create(self, service: str) -> PodHost:
        """A new pod that is not ready yet. MimirError when no address is left."""
        spec, number = self.application.app.services[service], self._count[service]
        self._count[service] += 1
        name = pod_name(service, spec.kind, number, self._template[service])
        pod = Pod(name, service, self._layout.app.namespace, self._address())
        self._network.join(self._layout, pod)
        host = PodHost(pod, self._network.pods[name], self._layout)
        self.hosts.pods[name] = host
        self.coming.append(host)
        self.events.append((self._network.born_s[name], "added", pod))
        return host

    async def start(self, host: PodHost) -> None:
        """Its process starts, takes its time, is ready."""
        await asyncio.sleep(self._some_s(self._spec.start_s))
        if host not in self.coming:  # it left before it was ready
            return
        await self.application.open(host)
        if host not in self.coming:
            return
        self._around.join(host)
        self.coming.remove(host)
        self.hosts.set_ready(host, True)
        self._point()

    async def leave(self, host: PodHost) -> None:
        """A pod leaves the endpoints, drains, closes its connections and is removed."""
        with self.application.unrest.change():
            self._retire(host)
            self._point()
            await asyncio.sleep(min(self._some_s(self._spec.drain_s), _MOST_DRAIN_S))
            await self._remove(host, reset=False)

    async def kill(self, host: PodHost) -> None:
        """A pod's process dies at once: its connections are reset; the endpoints follow."""
        with self.application.unrest.change():
            self._retire(host)
            removed = asyncio.ensure_future(self._remove(host, reset=True))
            await asyncio.sleep(0)
            self._point()
            await removed

    def set_ready(self, host: PodHost, ready: bool) -> None:
        """The service address leads to a pod, or does so no more."""
        self.hosts.set_ready(host, ready)
        self._point()

    def _retire(self, host: PodHost) -> None:
        """It counts as there no more, whether it was ready or still coming."""
        if host in self.coming:
            self.coming.remove(host)
        self.hosts.set_ready(host, False)

    def _address(self) -> str:
        """The next of the node's `cluster.pods.addresses` that nobody has: an old one comes back only after all others."""
        count = min(self._spec.addresses, self._addresses.num_addresses - 3)
        for _ in range(count):
            address = str(self._addresses[2 + self._next % count])
            self._next += 1
            if address not in self._taken:
                self._taken.add(address)
                return address
        raise MimirError(
            f"no address is left for a new pod: all {count} of cluster.pods.addresses are in use; set it higher"
        )

    async def _remove(self, host: PodHost, *, reset: bool) -> None:
        if host.gone:
            return
        self._around.leave(host)
        host.end(reset=reset)
        self.application.forget(host)
        for follower in list(self.followers):
            follower(host)
        await asyncio.sleep(self._spec.remove_s)
        self.events.append((self._network.part(host.pod), "deleted", host.pod))
        self._taken.discard(host.pod.ip)
        self.hosts.pods.pop(host.pod.name, None)

    def _point(self) -> None:
        self._network.point(self._layout, lambda service: [host.pod for host in self.hosts.of(service)])

    def _some_s(self, pair: tuple[float, float]) -> float:
        return float(self._random.lognormal(math.log(pair[0]), pair[1]))
