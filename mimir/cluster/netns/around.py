"""What happens without users: kubelet probes, timers of the services, scrapes, names looked up now and then."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import numpy as np

from mimir.cluster.netns.application import Application
from mimir.cluster.netns.hosts import PodHost
from mimir.cluster.netns.layout import KUBE_DNS
from mimir.cluster.netns.lines import Lines, speak_plainly
from mimir.cluster.netns.tasks import BROKEN
from mimir.cluster.netns.wire import BACKGROUND, Call
from mimir.spec.app import BackgroundSpec, EdgeSpec, LookupSpec, ProbeSpec, ScrapeSpec

HEALTH_PORT = 8080  #: of kube-dns


class Around:
    """Starts all of it; everything runs until the tasks are stopped."""

    def __init__(self, application: Application, random: np.random.Generator):
        self._it, self._random = application, random
        self._of: dict[str, list[asyncio.Task[Any]]] = {}  # pod → what ends with it

    async def start(self) -> None:
        """Start every timer at a random phase."""
        app, hosts = self._it.app, self._it.hosts
        for host in hosts.of(KUBE_DNS):
            await host.listen(partial(self._it._serve, host, "http"), HEALTH_PORT)
            self._probe(host, self._it.layout.cluster.dns.probe, "http", HEALTH_PORT)
        for name in app.services:
            for host in hosts.of(name):
                self.begin(host)
        for scrape in app.scrapes:
            for host in hosts.of(scrape.client):
                for other in hosts.of(scrape.server):
                    self._scraped(host, other, scrape)

    def _by_hand(self, spec: BackgroundSpec) -> bool:
        """Is it not done anyway, as clients of a real broker send heartbeats?"""
        return spec.server not in self._it.real or self._it.app.services[spec.server].protocol != "amqp"

    def begin(self, host: PodHost) -> None:
        """What one pod of a service does, and what is done to it, from now on; scrapes apart."""
        app, name = self._it.app, host.pod.service
        service = app.services[name]
        self._probe(host, service.probe, service.protocol, service.target_port)
        for back in filter(self._by_hand, app.background):
            if back.client == name:
                doing = f"background {back.client} → {back.server}"
                self._timer(back.every_s, self._background(host, back), doing, host)
        for lookup in app.lookups:
            if name in lookup.services:
                self._keep(self._it.tasks.start(self._lookups(host, lookup), f"lookup of {lookup.name}"), host)

    def join(self, host: PodHost) -> None:
        """A pod came: as `begin`, and scrapes between it and those that are there."""
        self.begin(host)
        for scrape in self._it.app.scrapes:
            if scrape.client == host.pod.service:
                for other in self._it.hosts.of(scrape.server):
                    self._scraped(host, other, scrape)
            if scrape.server == host.pod.service:
                for other in self._it.hosts.of(scrape.client):
                    self._scraped(other, host, scrape)

    def leave(self, host: PodHost) -> None:
        """A pod goes: nothing more is done by it or to it."""
        for task in self._of.pop(host.pod.name, []):
            task.cancel()

    def _scraped(self, host: PodHost, other: PodHost, spec: ScrapeSpec) -> None:
        self._timer(spec.every_s, self._scrape(host, other, spec), f"scrape of {spec.server}", host, other)

    def _timer(self, every_s: float, action: Callable[[], Awaitable[None]], name: str, *hosts: PodHost) -> None:
        phase_s = float(self._random.uniform(0, every_s))
        self._keep(self._it.tasks.start(self._every(every_s, phase_s, action, name), name), *hosts)

    def _keep(self, task: asyncio.Task[Any], *hosts: PodHost) -> None:
        for host in hosts:
            self._of.setdefault(host.pod.name, []).append(task)

    async def _every(self, every_s: float, phase_s: float, action: Callable[[], Awaitable[None]], name: str) -> None:
        loop = asyncio.get_running_loop()
        due = loop.time() + phase_s
        while True:
            await asyncio.sleep(max(0.0, due - loop.time()))
            due += every_s
            try:
                await action()
            except BROKEN as error:
                self._it.tasks.broken[f"{name}: {type(error).__name__}"] += 1

    def _probe(self, host: PodHost, spec: ProbeSpec | None, protocol: str, port: int) -> None:
        if spec is None:
            return

        speak = self._it.speak(host.pod.service) if host.pod.service in self._it.app.services else speak_plainly

        async def probe() -> None:
            streams = await self._it.hosts.node.connect(host.pod.ip, port)
            try:
                if spec.request_bytes and spec.response_bytes:
                    line = await speak(streams)
                    sizes = spec.request_bytes, spec.response_bytes
                    await line.ask(self._call(protocol, "GET /health", host.pod.ip, sizes, close=True))
            finally:
                streams[1].close()

        programs, real = self._it.programs, host.pod.service in self._it.real
        ask = partial(programs.probe, host) if programs and real else probe
        self._timer(spec.every_s, ask, f"probe of {host.pod.service}", host)

    def _background(self, host: PodHost, spec: BackgroundSpec) -> Callable[[], Awaitable[None]]:
        edge = EdgeSpec(client=spec.client, server=spec.server, connection="shared", keep=1, idle_s=0)
        lines = Lines(edge, partial(self._it.reach, host, spec.server), self._it.speak(spec.server))
        protocol = self._it.app.services[spec.server].protocol
        return partial(self._exchange, lines, protocol, "GET /", spec.server, (spec.request, spec.response))

    def _scrape(self, host: PodHost, other: PodHost, spec: ScrapeSpec) -> Callable[[], Awaitable[None]]:
        edge = EdgeSpec(client=spec.client, server=spec.server, connection="shared", keep=1, idle_s=0)
        lines = Lines(edge, partial(host.connect, other.pod.ip, spec.port))
        return partial(self._exchange, lines, "http", "GET /metrics", other.pod.ip, (spec.request, spec.response))

    async def _exchange(
        self,
        lines: Lines,
        protocol: str,
        action: str,
        host: str,
        pairs: tuple[tuple[float, float], tuple[float, float]],
    ) -> None:
        request, response = (self._it.draw((math.log(median), sigma)) for median, sigma in pairs)
        async with lines.use() as line:
            await line.ask(self._call(protocol, action, host, (request, response)))

    @staticmethod
    def _call(protocol: str, action: str, host: str, sizes: tuple[int, int], *, close: bool = False) -> Call:
        return Call(protocol, action, host, BACKGROUND, sizes[0], sizes[1], close)

    async def _lookups(self, host: PodHost, spec: LookupSpec) -> None:
        while True:
            await asyncio.sleep(float(self._random.exponential(spec.every_s)))
            try:
                await host.stub.address(spec.name)
            except TimeoutError:
                self._it.tasks.broken[f"lookup of {spec.name}: TimeoutError"] += 1
