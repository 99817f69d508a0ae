"""One accepted connection: calls of the application in its protocol."""

from __future__ import annotations

from asyncio import StreamReader, StreamWriter
from collections.abc import Awaitable, Callable

from mimir.cluster.netns.wire import PUSHED_ACK, Asked, read_asked, reply_bytes

Answer = Callable[[Asked], Awaitable[int]]  #: does what is asked; size of the reply
PREFACE = b"PRI "  #: how an HTTP/2 connection begins
_METHODS = (b"GET ", b"POST")


async def serve_connection(reader: StreamReader, writer: StreamWriter, protocol: str, answer: Answer) -> None:
    """Answer until the client closes. Raises what a broken connection raises, which includes its end."""
    while True:
        first = await reader.readexactly(4)
        if first == PREFACE and protocol == "grpc":
            from mimir.cluster.netns.http2_server import serve_http2  # needs h2

            await serve_http2(reader, writer, first, answer)
            return
        spoken = "http" if first in _METHODS else protocol
        asked = await read_asked(reader, spoken, first)
        if asked.endpoint != PUSHED_ACK:
            writer.write(reply_bytes(protocol, await answer(asked), close=asked.close))
        if asked.close:
            await writer.drain()
            return


def missing() -> bytes:
    """What a pod without a relay says: the error page of an ordinary web server."""
    body = b"<html><body>404 Not Found</body></html>"
    return b"HTTP/1.1 404 Not Found\r\nContent-Type: text/html\r\nContent-Length: %d\r\n\r\n" % len(body) + body
