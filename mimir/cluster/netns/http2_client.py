"""The calling end of gRPC connections (`http2.py`)."""

from __future__ import annotations

import asyncio
from asyncio import StreamReader, StreamWriter
from dataclasses import dataclass

from h2.events import DataReceived, Event, ResponseReceived, StreamEnded, StreamReset, TrailersReceived
from h2.exceptions import ProtocolError

from mimir.cluster.netns.http2 import FRAME_BYTES, PREFIX_BYTES, READ, Side
from mimir.cluster.netns.lines import Line, Streams
from mimir.cluster.netns.messages import grpc_message
from mimir.cluster.netns.tasks import BROKEN
from mimir.cluster.netns.wire import Call

HEALTH = "/grpc.health.v1.Health/Check"
_REPLY_BYTES = 2 * FRAME_BYTES + 3  # headers and trailers, from the second reply of a connection on
_MOST_STREAMS = 100


@dataclass
class _Pending:
    """A reply that is awaited."""

    done: asyncio.Future[int]
    size: int = 0
    status: bytes = b""


class Http2Line(Line):
    """A client's connection; any number of calls at a time, up to what servers allow."""

    def __init__(self, reader: StreamReader, writer: StreamWriter):
        super().__init__(reader, writer)
        self._side = Side(writer, client=True)
        self._pending: dict[int, _Pending] = {}
        self._free = asyncio.Semaphore(_MOST_STREAMS)
        self._side.flush()
        self._listening = asyncio.get_running_loop().create_task(self._listen())

    @property
    def open(self) -> bool:
        """Has neither side closed it?"""
        return not self._listening.done() and super().open

    async def ask(self, call: Call) -> int:
        """One unary call. `call.close` says that `call.size` counts all the connection sent before, too."""
        async with self._free:
            if not self.open:
                raise ConnectionError("the HTTP/2 connection was closed")
            side, stream = self._side, self._side.h2.get_next_available_stream_id()
            waiting = self._pending[stream] = _Pending(asyncio.get_running_loop().create_future())
            try:
                before = side.sent + FRAME_BYTES if call.close else 0  # and the SETTINGS' acknowledgement
                side.h2.send_headers(stream, _head(call))
                room = call.size - side.gather() - before - FRAME_BYTES - PREFIX_BYTES
                await side.send(stream, grpc_message(room, call.endpoint, call.wanted), end=True)
                side.flush()
                size = await waiting.done
            except asyncio.CancelledError:
                self._reset(stream)
                raise
            finally:
                self._pending.pop(stream, None)
        self.used_s, self.exchanges = asyncio.get_running_loop().time(), self.exchanges + 1
        return size

    def close(self) -> None:
        """Close it; calls that still wait fail."""
        self._listening.cancel()
        super().close()

    def _reset(self, stream: int) -> None:
        try:
            self._side.h2.reset_stream(stream, error_code=8)  # CANCEL
            self._side.flush()
        except ProtocolError:
            pass  # it had ended

    async def _listen(self) -> None:
        try:
            while data := await self.reader.read(READ):
                for event in self._side.feed(data):
                    self._heard(event)
                self._side.flush()
        except BROKEN:
            pass
        finally:
            self._side.end()
            for waiting in self._pending.values():
                if not waiting.done.done():
                    waiting.done.set_exception(ConnectionError("the HTTP/2 connection was closed"))

    def _heard(self, event: Event) -> None:
        waiting = self._pending.get(getattr(event, "stream_id", 0) or 0)
        if waiting is None or waiting.done.done():
            return
        if isinstance(event, DataReceived):
            waiting.size += FRAME_BYTES + (event.flow_controlled_length or 0)
        elif isinstance(event, ResponseReceived | TrailersReceived):
            waiting.status = dict(event.headers or []).get(b"grpc-status", waiting.status)
        elif isinstance(event, StreamReset):
            waiting.done.set_exception(ConnectionError("the server reset the stream"))
        elif isinstance(event, StreamEnded):
            if waiting.status == b"0":
                waiting.done.set_result(waiting.size + _REPLY_BYTES)
            else:
                waiting.done.set_exception(ConnectionError(f"grpc-status {waiting.status.decode()}"))


async def speak_grpc(streams: Streams) -> Line:
    """HTTP/2 on a new connection."""
    return Http2Line(*streams)


def _head(call: Call) -> list[tuple[bytes, bytes]]:
    path = HEALTH if " " in call.action else f"/{call.host}/{call.action or 'Call'}"
    return [
        (b":method", b"POST"), (b":scheme", b"http"), (b":path", path.encode()), (b":authority", call.host.encode()),
        (b"content-type", b"application/grpc"), (b"user-agent", b"grpc-mimir/1"), (b"te", b"trailers"),
    ]  # fmt: skip
