"""How a message crosses one hop on a real connection: both ends of every channel over TCP.

The client end opens a connection and pushes or pulls messages; the server end answers for as long as the connection lives. What
they write is what `mimir.exfiltration.channels` says; in TLS the same goes through a real session.
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

from mimir.cluster.netns.serving import missing
from mimir.cluster.netns.wire import read_http
from mimir.exfiltration.channels import cloud_storage, http_relay, response_stuffing, slow_headers
from mimir.spec.exfiltration import CloudSpec, StuffingSpec

_COOKIE = b"session="


class NothingHereError(ConnectionError):
    """The pod that was reached holds no message of this leak."""


class Writer(Protocol):
    """The part of a StreamWriter that is used."""

    def write(self, data: bytes) -> None:
        """Send."""
        ...

    def close(self) -> None:
        """Close."""
        ...

    def is_closing(self) -> bool:
        """Is it closed?"""
        ...

    async def drain(self) -> None:
        """Wait until the other side keeps up."""
        ...


Ends = tuple[asyncio.StreamReader, Writer]


@dataclass
class Server:
    """What the server end does with messages: `take` one, or `give` the next (None: another pod has them); `given` once it crossed."""

    take: Callable[[bytes], None]
    give: Callable[[], Awaitable[bytes | None]]
    given: Callable[[], Awaitable[None]]
    gives: bool  #: does the client pull?


class Dialect:
    """One channel on one hop. `host` is the name of the server. Methods raise what a broken connection raises."""

    confirmed = True  #: does the client learn that a pushed message arrived?

    def __init__(self, host: str):
        self.host = host

    async def open(self, ends: Ends) -> None:
        """What the client says first on a connection."""

    async def push(self, ends: Ends, data: bytes, number: int) -> None:
        """The client hands message `number` over. TypeError from a channel that is only pulled."""
        raise TypeError(f"{type(self).__name__} cannot be pushed")

    async def pull(self, ends: Ends, number: int) -> bytes:
        """The client gets the next message. NothingHereError from a pod without any; TypeError from a channel that is only pushed."""
        raise TypeError(f"{type(self).__name__} cannot be pulled")

    async def bye(self, ends: Ends) -> None:
        """What the client says last."""

    async def serve(self, ends: Ends, server: Server) -> None:
        """The server's end of a connection, until it breaks. TypeError from a channel without connections."""
        raise TypeError(f"{type(self).__name__} has no connections to serve")


class Http(Dialect):
    """http_relay and http_post: POST pushes, GET pulls."""

    def __init__(self, host: str, body: http_relay.Body):
        super().__init__(host)
        self._body = body

    async def push(self, ends: Ends, data: bytes, number: int) -> None:
        """Hand a message over."""
        content = http_relay.write_body(data, self._body)
        ends[1].write(http_relay.post_head(self.host, len(content), self._body) + content)
        await _answered(ends)

    async def pull(self, ends: Ends, number: int) -> bytes:
        """Get a message."""
        ends[1].write(http_relay.get_head(self.host))
        return http_relay.read_body((await _answered(ends))[1], self._body)

    async def serve(self, ends: Ends, server: Server) -> None:
        """Answer."""
        while True:
            head, content = await read_http(ends[0])
            if head.startswith(b"POST"):
                server.take(http_relay.read_body(content, self._body))
                ends[1].write(http_relay.response_head(0, self._body))
            elif (data := await server.give()) is None:
                ends[1].write(missing())
            else:
                content = http_relay.write_body(data, self._body)
                ends[1].write(http_relay.response_head(len(content), self._body) + content)


class Upload(Dialect):
    """cloud_storage: PUT of objects."""

    def __init__(self, cloud: CloudSpec):
        super().__init__(cloud.host)

    async def push(self, ends: Ends, data: bytes, number: int) -> None:
        """Hand a message over."""
        ends[1].write(cloud_storage.put_head(self.host, number, len(data)) + data)
        await _answered(ends)

    async def serve(self, ends: Ends, server: Server) -> None:
        """Answer."""
        while True:
            server.take((await read_http(ends[0]))[1])
            ends[1].write(cloud_storage.stored())


class Headers(Dialect):
    """slow_headers: a cookie of a GET, or of its reply."""

    async def push(self, ends: Ends, data: bytes, number: int) -> None:
        """Hand a message over."""
        ends[1].write(slow_headers.request(self.host, slow_headers.write_value(data)))
        await _answered(ends)

    async def pull(self, ends: Ends, number: int) -> bytes:
        """Get a message."""
        ends[1].write(slow_headers.request(self.host, b""))
        return _cookie((await _answered(ends))[0])

    async def serve(self, ends: Ends, server: Server) -> None:
        """Answer."""
        while True:
            head, _ = await read_http(ends[0])
            if not server.gives:
                server.take(_cookie(head))
                ends[1].write(slow_headers.response(b""))
            elif (data := await server.give()) is None:
                ends[1].write(missing())
            else:
                ends[1].write(slow_headers.response(slow_headers.write_value(data)))


class Pages(Dialect):
    """response_stuffing at the entry: a page with the data behind it."""

    def __init__(self, host: str, spec: StuffingSpec):
        super().__init__(host)
        self._page = b"." * spec.page_bytes

    async def pull(self, ends: Ends, number: int) -> bytes:
        """Get a message."""
        ends[1].write(response_stuffing.request(self.host))
        return response_stuffing.read_response((await _answered(ends))[1])

    async def serve(self, ends: Ends, server: Server) -> None:
        """Answer."""
        while True:
            await read_http(ends[0])
            data = await server.give()
            ends[1].write(missing() if data is None else response_stuffing.response(self._page, data))


async def _answered(ends: Ends) -> tuple[bytes, bytes]:
    head, content = await read_http(ends[0])
    if b" 404 " in head[:20]:
        raise NothingHereError("404")
    return head, content


def _cookie(head: bytes) -> bytes:
    at = head.index(_COOKIE) + len(_COOKIE)
    value = head[at : head.index(b"\r\n", at)].split(b";")[0]
    return base64.urlsafe_b64decode(value + b"=" * (-len(value) % 4))
