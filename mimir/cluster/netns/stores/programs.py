"""The real stores of one recording: a process each, and what the services speak to them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mimir.cluster.netns.hosts import Host, Hosts, PodHost
from mimir.cluster.netns.layout import Layout
from mimir.cluster.netns.lines import Line, Speak, spoken
from mimir.cluster.netns.network import Network
from mimir.cluster.netns.real.doors import open_door
from mimir.cluster.netns.real.processes import Job, RealPod, user
from mimir.cluster.netns.stores.driver import Driver
from mimir.cluster.netns.stores.known import Known
from mimir.cluster.netns.tasks import BROKEN
from mimir.errors import MimirError

_LIMIT_S = 600.0  # until a store answers: RabbitMQ needs minutes where twenty others want the same two cores
_HEARTBEAT_S = 60  # RabbitMQ's own default


class Stores:
    """All real stores. They end with `close`, and with this process."""

    def __init__(
        self, chosen: Mapping[str, Known], layout: Layout, network: Network, hosts: Hosts, folder: Path,
        random: np.random.Generator,
    ):  # fmt: skip
        self._layout, self._network, self._hosts, self._logs = layout, network, hosts, folder / "pods"
        self.services = frozenset(chosen)
        self.pods: dict[str, RealPod] = {}
        self.facts: dict[str, Any] = {}
        self._drivers = {name: _driver(layout, name) for name in chosen}
        self._own: list[Line] = []

    async def start(self) -> None:
        """Start every store, then wait for each to answer; MimirError, with its last words, when one does not."""
        begun_s = time.monotonic()
        for name in self.services:
            (pod,) = self._layout.pods_of(name)
            namespace, port = self._network.pods[pod.name], self._layout.app.services[name].target_port
            driver = self._drivers[name]
            uid, gid = user(driver.user)
            job = Job(uid=uid, gid=gid, resolv=self._layout.resolv_conf(self._layout.app.namespace), **driver.job(port))
            self.pods[name] = RealPod(namespace, job, self._logs / f"{pod.name}.log")
            open_door(namespace, port)
        self.facts["start_s"] = dict(
            zip(
                self.services,
                await asyncio.gather(*(self._answers(name, begun_s) for name in self.services)),
                strict=True,
            )
        )

    def check(self) -> None:
        """MimirError when a store ended."""
        for pod in self.pods.values():
            pod.check()

    async def rejoin(self, pod: str, after_s: float) -> None:
        """None of these stores has other members."""
        raise TypeError(f"{pod} is alone")

    async def count(self, when: str) -> None:
        """Keep how much memory the stores take."""
        self.facts["memory_mb"] = {name: round(pod.memory_kb() / 1024) for name, pod in self.pods.items()}

    def close(self) -> None:
        """End all stores."""
        for line in self._own:
            line.close()
        for pod in self.pods.values():
            pod.kill()

    def speak(self, service: str) -> Speak:
        """The store's own protocol."""
        return self._drivers[service].speak

    async def probe(self, host: PodHost) -> None:
        """A connection that is opened and closed."""
        service = self._layout.app.services[host.pod.service]
        _, writer = await self._hosts.node.connect(host.pod.ip, service.target_port)
        writer.close()

    def browser(self, host: Host, slot: int) -> Any:
        """No store is an entry of an application (`real_entry`)."""
        raise TypeError("users ask no stores")

    async def _answers(self, name: str, begun_s: float) -> float:
        """Wait for a store, on its pod's loopback, and prepare it; seconds since `begun_s`."""
        (host,) = self._hosts.of(name)
        while True:
            self.pods[name].check()
            try:
                async with asyncio.timeout(10):
                    port = self._layout.app.services[name].target_port
                    line = await spoken(self._drivers[name].speak, await host.connect("127.0.0.1", port))
                    break
            except BROKEN as error:
                if time.monotonic() - begun_s > _LIMIT_S:
                    raise MimirError(f"{name} did not answer in {_LIMIT_S:g} s ({error}); it said: …{self.pods[name].said[-1500:]}; "
                                     "run without it: cluster.real_stores=false") from None  # fmt: skip
                await asyncio.sleep(0.2)
        self._own.append(line)
        await line.prepare()
        return round(time.monotonic() - begun_s, 1)


def _driver(layout: Layout, name: str) -> Driver:
    """The driver of one store; its protocol's package is loaded here."""
    protocol = layout.app.services[name].protocol
    if protocol == "redis":
        from mimir.cluster.netns.stores.redis import Redis

        return Redis()
    if protocol == "mysql":
        from mimir.cluster.netns.stores.mariadb import MariaDb

        return MariaDb()
    from mimir.cluster.netns.stores.rabbitmq import RabbitMq

    beats = [2 * b.every_s for b in layout.app.background if b.server == name]
    return RabbitMq(round(min(beats, default=_HEARTBEAT_S)))
