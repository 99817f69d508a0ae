"""Stores that replicate: every pair of pods keeps a connection between their own addresses (`ReplicationSpec`)."""

from __future__ import annotations

import asyncio
import math
from functools import partial
from typing import TYPE_CHECKING

from mimir.cluster.netns.hosts import PodHost
from mimir.cluster.netns.lines import Lines
from mimir.cluster.netns.tasks import BROKEN
from mimir.cluster.netns.wire import BACKGROUND, Call
from mimir.spec.app import EdgeSpec, ReplicationSpec

if TYPE_CHECKING:
    from mimir.cluster.netns.application import Application

PROTOCOL = "replication"


class Replicas:
    """Passes calls on to the other pods of a store, and keeps pairs awake."""

    def __init__(self, application: Application):
        self._it = application
        self._lines: dict[tuple[str, str, int], Lines] = {}
        self._specs = [spec for spec in application.app.replication if spec.service not in application.real]
        self._of = {f"{spec.service}:{endpoint}": spec for spec in self._specs for endpoint in spec.endpoints}

    async def serve(self) -> None:
        """Open the replication ports and start the beats."""
        for spec in self._specs:
            hosts = self._it.hosts.of(spec.service)
            for host in hosts:
                await host.listen(partial(self._it._serve, host, PROTOCOL), spec.port)
            for number, host in enumerate(hosts):
                for other in hosts[number + 1 :]:
                    self._it.tasks.start(self._beats(spec, host, other), "replication")

    async def pass_on(self, host: PodHost, number: int, asked: int) -> None:
        """Tell the other pods about a call before it is answered."""
        spec = self._of.get(self._it.trees.endpoints[number])
        if spec is None:
            return
        others = [other for other in self._it.hosts.of(spec.service) if other is not host]
        frame, reply = (self._it.draw((math.log(p[0]), p[1])) for p in (spec.frame, spec.reply))
        await asyncio.gather(*(self._tell(spec, host, o, round(spec.carries * asked) + frame, reply) for o in others))

    async def _tell(self, spec: ReplicationSpec, host: PodHost, other: PodHost, size: int, wanted: int) -> None:
        key = host.pod.name, other.pod.name, spec.port
        if key not in self._lines:
            edge = EdgeSpec(client=spec.service, server=spec.service, connection="shared", keep=1, idle_s=0)
            self._lines[key] = Lines(edge, partial(host.connect, other.pod.ip, spec.port))
        async with self._lines[key].use() as line:
            await line.ask(Call(PROTOCOL, "", "", BACKGROUND, size, wanted))

    async def _beats(self, spec: ReplicationSpec, host: PodHost, other: PodHost) -> None:
        while True:
            size = self._it.draw((math.log(spec.beat[0]), spec.beat[1]))
            try:
                await self._tell(spec, host, other, size, size)
            except BROKEN as error:
                self._it.tasks.broken[f"replication: {type(error).__name__}"] += 1
            await asyncio.sleep(spec.every_s)
