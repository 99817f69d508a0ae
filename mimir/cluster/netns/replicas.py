"""Stores that replicate: every pair of pods keeps one connection between their own addresses (`ReplicationSpec`)."""

from __future__ import annotations

import asyncio
import math
from collections import deque
from functools import partial
from itertools import combinations
from typing import TYPE_CHECKING

from mimir.cluster.netns.hosts import PodHost
from mimir.cluster.netns.tasks import BROKEN
from mimir.cluster.netns.wire import BACKGROUND, FRAME_LEAST, read_asked, request_bytes
from mimir.spec.app import ReplicationSpec

if TYPE_CHECKING:
    from mimir.cluster.netns.application import Application

PROTOCOL = "replication"
_CERTIFY_S = 150e-6  #: until a member has looked at what it got
_BOTH_ENDS_S = 2.0


class End:
    """One end of a pair's connection: it answers what it is told, and waits for answers in the order it told."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter):
        self._reader, self._writer = reader, writer
        self._waiting: deque[asyncio.Future[None]] = deque()

    @property
    def open(self) -> bool:
        """Has neither side closed it, as far as we can see?"""
        return not (self._writer.is_closing() or self._reader.at_eof())

    async def tell(self, size: int, wanted: int) -> None:
        """Send `size` bytes and wait for the `wanted` bytes that answer them. ConnectionError when the other end went."""
        answered: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(answered)
        self._writer.write(request_bytes(PROTOCOL, "", "", BACKGROUND, size, wanted=max(FRAME_LEAST, wanted)))
        await answered

    async def listen(self) -> None:
        """Read until the connection ends."""
        try:
            while True:
                told = await read_asked(self._reader, PROTOCOL, await self._reader.readexactly(4))
                if told.wanted:
                    self._writer.write(request_bytes(PROTOCOL, "", "", BACKGROUND, told.wanted))
                elif self._waiting and not (answered := self._waiting.popleft()).done():
                    answered.set_result(None)
        except BROKEN:
            pass
        finally:
            self._writer.close()
            for answered in self._waiting:
                if not answered.done():
                    answered.set_exception(ConnectionError("the other member went"))


class Replicas:
    """Passes calls on to the other pods of a store, and keeps pairs awake.

    The later member of a pair opens its connection; either tells the other over it what it has to say. Members that hear
    of a write tell each other so.
    """

    def __init__(self, application: Application):
        self._it = application
        self._ends: dict[tuple[str, str, int], End] = {}  #: at a pod, towards another pod, port
        self._opening = asyncio.Lock()
        self._specs = [spec for spec in application.app.replication if spec.service not in application.real]
        self._of = {f"{spec.service}:{endpoint}": spec for spec in self._specs for endpoint in spec.endpoints}

    async def serve(self) -> None:
        """Open the replication ports and the connections of all pairs, and start the beats."""
        for spec in self._specs:
            hosts = self._it.hosts.of(spec.service)
            for host in hosts:
                await host.listen(partial(self._accept, spec, host), spec.port)
            for earlier, later in combinations(hosts, 2):
                await self._end(spec, later, earlier)
                self._it.tasks.start(self._beats(spec, later, earlier), "replication")

    async def pass_on(self, host: PodHost, number: int, asked: int) -> None:
        """Tell the other pods about a call before it is answered."""
        spec = self._of.get(self._it.trees.endpoints[number])
        if spec is None:
            return
        others = [other for other in self._it.hosts.of(spec.service) if other is not host]
        size = round(spec.carries * asked) + self._draw(spec.frame)
        await asyncio.gather(*(self._tell(spec, host, o, size, self._draw(spec.reply)) for o in others))
        for earlier, later in combinations(others, 2):
            self._it.tasks.start(self._heard(spec, later, earlier), "replication")

    def _draw(self, pair: tuple[float, float]) -> int:
        return self._it.draw((math.log(pair[0]), pair[1]))

    async def _accept(
        self, spec: ReplicationSpec, host: PodHost, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """A later member has connected to `host`."""
        address = writer.get_extra_info("peername")[0]
        peer = next((o for o in self._it.hosts.of(spec.service) if o.pod.ip == address), None)
        if peer is None:
            writer.close()
            return
        end = self._ends[host.pod.name, peer.pod.name, spec.port] = End(reader, writer)
        await end.listen()

    async def _end(self, spec: ReplicationSpec, host: PodHost, other: PodHost) -> End:
        """The end at `host` of the connection with `other`, opened where it is not."""
        here, there = (host.pod.name, other.pod.name, spec.port), (other.pod.name, host.pod.name, spec.port)
        async with self._opening:
            if not all(key in self._ends and self._ends[key].open for key in (here, there)):
                members = self._it.hosts.of(spec.service)
                later, earlier = sorted((host, other), key=members.index, reverse=True)
                for key in (here, there):
                    self._ends.pop(key, None)
                end = End(*await later.connect(earlier.pod.ip, spec.port))
                self._ends[later.pod.name, earlier.pod.name, spec.port] = end
                self._it.tasks.start(end.listen(), "replication")
                async with asyncio.timeout(_BOTH_ENDS_S):
                    while here not in self._ends or there not in self._ends:
                        await asyncio.sleep(0.001)
            return self._ends[here]

    async def _tell(self, spec: ReplicationSpec, host: PodHost, other: PodHost, size: int, wanted: int) -> None:
        await (await self._end(spec, host, other)).tell(size, wanted)

    async def _heard(self, spec: ReplicationSpec, later: PodHost, earlier: PodHost) -> None:
        """Two members tell each other that the write of a third has come, which puts writes into one order."""
        await asyncio.sleep(_CERTIFY_S)
        try:
            await self._tell(spec, later, earlier, self._draw(spec.reply), self._draw(spec.reply))
        except BROKEN as error:
            self._it.tasks.broken[f"replication: {type(error).__name__}"] += 1

    async def _beats(self, spec: ReplicationSpec, later: PodHost, earlier: PodHost) -> None:
        await asyncio.sleep(float(self._it._random.uniform(0, spec.every_s)))
        while True:
            try:
                await self._tell(spec, later, earlier, self._draw(spec.beat), self._draw(spec.beat))
            except BROKEN as error:
                self._it.tasks.broken[f"replication: {type(error).__name__}"] += 1
            await asyncio.sleep(spec.every_s)
