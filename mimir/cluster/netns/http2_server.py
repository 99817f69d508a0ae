"""The answering end of gRPC connections (`http2.py`)."""

from __future__ import annotations

import asyncio
from asyncio import StreamReader, StreamWriter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from h2.events import DataReceived, Event, RequestReceived, StreamEnded, StreamReset
from h2.exceptions import ProtocolError

from mimir.cluster.netns.http2 import FRAME_BYTES, PREFIX_BYTES, READ, REPLY_HEAD, Side
from mimir.cluster.netns.messages import grpc_message, read_message
from mimir.cluster.netns.tasks import BROKEN
from mimir.cluster.netns.wire import Asked

_TRAILERS = [(b"grpc-status", b"0")]
_TRAILER_BYTES = FRAME_BYTES + 1  # from the second reply of a connection on
_UNAVAILABLE = [*REPLY_HEAD, (b"grpc-status", b"14")]


async def serve_http2(
    reader: StreamReader, writer: StreamWriter, first: bytes, answer: Callable[[Asked], Awaitable[int]]
) -> None:
    """Answer until the client closes; `answer` gives the size of each reply. Raises what a broken connection raises."""
    serving = _Serving(Side(writer, client=False), answer)
    serving.side.flush()
    data = first
    try:
        while data:
            for event in serving.side.feed(data):
                serving.heard(event)
            serving.side.flush()
            data = await reader.read(READ)
    finally:
        for task in serving.tasks:
            task.cancel()
    if serving.defects:
        raise serving.defects[0]


@dataclass
class _Serving:
    """Requests of one accepted connection."""

    side: Side
    answer: Callable[[Asked], Awaitable[int]]
    bodies: dict[int, bytearray] = field(default_factory=dict)
    tasks: set[asyncio.Task[None]] = field(default_factory=set)
    defects: list[BaseException] = field(default_factory=list)

    def heard(self, event: Event) -> None:
        """Begin to answer a request that is complete."""
        if isinstance(event, RequestReceived):
            self.bodies[event.stream_id or 0] = bytearray()
        elif isinstance(event, DataReceived):
            self.bodies[event.stream_id or 0] += event.data or b""
        elif isinstance(event, StreamReset):
            self.bodies.pop(event.stream_id or 0, None)
        elif isinstance(event, StreamEnded) and (stream := event.stream_id or 0) in self.bodies:
            task = asyncio.get_running_loop().create_task(self._reply(stream, bytes(self.bodies.pop(stream))))
            self.tasks.add(task)
            task.add_done_callback(self._ended)

    async def _reply(self, stream: int, body: bytes) -> None:
        endpoint, wanted = read_message(body[PREFIX_BYTES:])
        side = self.side
        try:
            size = await self.answer(Asked(endpoint, wanted, False, len(body) + FRAME_BYTES))
        except BROKEN:  # a call it made failed
            if not side.writer.is_closing():
                side.h2.send_headers(stream, _UNAVAILABLE, end_stream=True)
                side.flush()
            return
        side.h2.send_headers(stream, REPLY_HEAD)
        head = side.gather()
        await side.send(stream, grpc_message(size - head - FRAME_BYTES - PREFIX_BYTES - _TRAILER_BYTES), end=False)
        side.h2.send_headers(stream, _TRAILERS, end_stream=True)
        side.flush()
        await side.writer.drain()

    def _ended(self, task: asyncio.Task[None]) -> None:
        self.tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None and not isinstance(error, (*BROKEN, ProtocolError)):
            self.defects.append(error)
            self.side.writer.close()
