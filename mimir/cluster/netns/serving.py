"""One accepted connection: calls of the application in its protocol, or an agent of the leak that shares the port."""

from __future__ import annotations

from asyncio import StreamReader, StreamWriter
from collections.abc import Awaitable, Callable
from typing import Protocol

from mimir.cluster.netns.wire import PUSHED_ACK, Asked, read_asked, reply_bytes
from mimir.exfiltration.channels.raw_tcp import MAGIC

Answer = Callable[[Asked], Awaitable[int]]  #: does what is asked; size of the reply
AGENT_PATH = "/health/detail"
PREFACE = b"PRI "  #: how an HTTP/2 connection begins
_METHODS = (b"GET ", b"POST")


class Agent(Protocol):
    """Answers HTTP requests to AGENT_PATH and frames that begin with the magic number of raw_tcp."""

    async def http(self, method: str, body: bytes) -> bytes:
        """The whole reply to one HTTP request."""
        ...

    async def raw(self, reader: StreamReader, writer: StreamWriter, first: bytes) -> None:
        """Serve a raw_tcp connection whose first bytes are `first`."""
        ...


async def serve_connection(
    reader: StreamReader, writer: StreamWriter, protocol: str, answer: Answer, agent: Agent | None
) -> None:
    """Answer until the client closes. Raises what a broken connection raises, which includes its end."""
    while True:
        first = await reader.readexactly(4)
        if first == MAGIC:
            if agent:
                await agent.raw(reader, writer, first)
            return
        if first == PREFACE and protocol == "grpc":
            from mimir.cluster.netns.http2_server import serve_http2  # needs h2

            await serve_http2(reader, writer, first, answer)
            return
        spoken = "http" if first in _METHODS else protocol
        asked = await read_asked(reader, spoken, first)
        if asked.path == AGENT_PATH:
            writer.write(await agent.http(first.strip().decode(), asked.body) if agent else missing())
        elif asked.endpoint != PUSHED_ACK:
            writer.write(reply_bytes(protocol, await answer(asked), close=asked.close))
        if asked.close:
            await writer.drain()
            return


def missing() -> bytes:
    """What a pod without a relay says: the error page of an ordinary web server."""
    body = b"<html><body>404 Not Found</body></html>"
    return b"HTTP/1.1 404 Not Found\r\nContent-Type: text/html\r\nContent-Length: %d\r\n\r\n" % len(body) + body
