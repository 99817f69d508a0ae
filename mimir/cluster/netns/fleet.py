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
from mimir.spec.change import LifecycleSpec

MOST_DRAIN_S = 30.0  #: terminationGracePeriodSeconds' default


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
        self._next_ip = 2 + len(layout.pods)
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
        """A new pod with an address nobody had; returns when it is ready and reached through the service address."""
        host = self.create(service)
        await self.start(host)
        return host

    def create(self, service: str) -> PodHost:
        """A new pod that is not ready yet."""
        spec, number = self.application.app.services[service], self._count[service]
        self._count[service] += 1
        network = IPv4Network(self._layout.cluster.addresses.pods)
        address = str(network[2 + (self._next_ip - 2) % (network.num_addresses - 3)])
        self._next_ip += 1
        name = pod_name(service, spec.kind, number, self._template[service])
        pod = Pod(name, service, self._layout.app.namespace, address)
        self._network.join(self._layout, pod)
        host = PodHost(pod, self._network.pods[name], self._layout)
        self.hosts.pods[name] = host
        self.coming.append(host)
        self.events.append((self._network.born_s[name], "added", pod))
        return host

    async def start(self, host: PodHost) -> None:
        """Its process starts, takes its time, is ready."""
        await asyncio.sleep(self._some_s(self._spec.start_s))
        if host.gone:
            return
        await self.application.open(host)
        self._around.join(host)
        self.coming.remove(host)
        self.hosts.set_ready(host, True)
        self._point()

    async def leave(self, host: PodHost) -> None:
        """A pod leaves the endpoints, drains, closes its connections and is removed."""
        self.hosts.set_ready(host, False)
        self._point()
        await asyncio.sleep(min(self._some_s(self._spec.drain_s), MOST_DRAIN_S))
        await self._remove(host, reset=False)

    async def kill(self, host: PodHost) -> None:
        """A pod's process dies at once: its connections are reset; the endpoints follow."""
        self.hosts.set_ready(host, False)
        removed = asyncio.ensure_future(self._remove(host, reset=True))
        await asyncio.sleep(0)
        self._point()
        await removed

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

    def _point(self) -> None:
        self._network.point(self._layout, lambda service: [host.pod for host in self.hosts.of(service)])

    def _some_s(self, pair: tuple[float, float]) -> float:
        return float(self._random.lognormal(math.log(pair[0]), pair[1]))
