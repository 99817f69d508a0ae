"""Connections of one client to one server, kept or not as the application's edge says (`mimir.spec.app.EdgeSpec`)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TypeVar

from mimir.cluster.netns.wire import Call, read_reply
from mimir.spec.app import EdgeSpec

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Connect = Callable[[], Awaitable[Streams]]


@dataclass
class Line:
    """One open connection; one exchange at a time."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    used_s: float = 0.0
    exchanges: int = 0

    @property
    def open(self) -> bool:
        """Has neither side closed it, as far as we can see?"""
        return not (self.writer.is_closing() or self.reader.at_eof())

    @property
    def local(self) -> tuple[str, int]:
        """Own address and port."""
        name = self.writer.get_extra_info("sockname")
        return str(name[0]), int(name[1])

    async def ask(self, call: Call) -> int:
        """Send a request; bytes of the reply. Raises what a broken connection raises."""
        async with self.lock:
            self.writer.write(call.encoded())
            size = await read_reply(self.reader, call.protocol)
            self.used_s, self.exchanges = time.monotonic(), self.exchanges + 1
            return size

    def close(self) -> None:
        """Close it."""
        self.writer.close()


L = TypeVar("L", bound=Line)
Speak = Callable[[Streams], Awaitable[Line]]  #: what is spoken on a new connection


async def speak_plainly(streams: Streams) -> Line:
    """HTTP/1.1 and frames."""
    return Line(*streams)


async def spoken(speak: Callable[[Streams], Awaitable[L]], streams: Streams) -> L:
    """What `speak` makes of a new connection, which is closed when that fails. Raises what a broken connection raises."""
    try:
        return await speak(streams)
    except BaseException:
        streams[1].close()
        raise


class Lines:
    """Connections of one client pod (or session) along one edge."""

    def __init__(self, edge: EdgeSpec, connect: Connect, speak: Speak = speak_plainly):
        self._edge, self._connect, self._speak = edge, connect, speak
        self._idle: list[Line] = []
        self._shared: Line | None = None
        self._opening = asyncio.Lock()
        self._callers = asyncio.Semaphore(max(1, edge.keep))

    @property
    def per_request(self) -> bool:
        """Does every call get a connection of its own?"""
        return self._edge.connection == "per_request"

    @asynccontextmanager
    async def use(self) -> AsyncIterator[Line]:
        """A connection for one call."""
        if self._edge.connection in ("shared", "session"):
            yield await self._the_one()
        elif self._edge.connection == "kept":
            line = self._take() or await self._new()
            try:
                yield line
            except BaseException:
                line.close()
                raise
            self._give(line)
        else:
            line = await self._new()
            try:
                yield line
            finally:
                line.close()

    @asynccontextmanager
    async def caller(self) -> AsyncIterator[Line]:
        """A connection for all calls of one request of the client."""
        async with self._callers:
            line = await self._new()
            try:
                yield line
            finally:
                line.close()

    def close(self) -> None:
        """Close what is open."""
        for line in [*self._idle, *([self._shared] if self._shared else [])]:
            line.close()
        self._idle, self._shared = [], None

    async def _new(self) -> Line:
        return await spoken(self._speak, await self._connect())

    async def _the_one(self) -> Line:
        async with self._opening:
            if self._shared is None or not self._shared.open:
                self._shared = await self._new()
            return self._shared

    def _take(self) -> Line | None:
        while self._idle:
            line = self._idle.pop()
            if line.open:
                return line
            line.close()
        return None

    def _give(self, line: Line) -> None:
        if not line.open or len(self._idle) >= self._edge.keep:
            line.close()
            return
        self._idle.append(line)
        if self._edge.idle_s > 0:
            asyncio.get_running_loop().call_later(self._edge.idle_s, self._expire, line, line.exchanges)

    def _expire(self, line: Line, exchanges: int) -> None:
        """Close a line that nobody used since."""
        if line in self._idle and line.exchanges == exchanges:
            self._idle.remove(line)
            line.close()
