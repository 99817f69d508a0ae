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
from mimir.exfiltration.channels import cloud_storage, drip, http_relay, raw_tcp, response_stuffing, slow_headers, smtp
from mimir.spec.exfiltration import CloudSpec, SmtpSpec, StuffingSpec

_SESSION = int.from_bytes(raw_tcp.MAGIC)
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
        """The client hands message `number` over."""
        raise NotImplementedError

    async def pull(self, ends: Ends, number: int) -> bytes:
        """The client gets the next message. NothingHereError from a pod without any."""
        raise NotImplementedError

    async def bye(self, ends: Ends) -> None:
        """What the client says last."""

    async def serve(self, ends: Ends, server: Server) -> None:
        """The server's end of a connection, until it breaks."""
        raise NotImplementedError


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


class Raw(Dialect):
    """raw_tcp: frames, each acknowledged; a pull is the acknowledgement of the frame before."""

    async def push(self, ends: Ends, data: bytes, number: int) -> None:
        """Hand a message over."""
        ends[1].write(raw_tcp.frame(data, _SESSION, number))
        await ends[0].readexactly(raw_tcp.ACKNOWLEDGEMENT_BYTES)

    async def pull(self, ends: Ends, number: int) -> bytes:
        """Get a message."""
        ends[1].write(raw_tcp.acknowledgement(_SESSION, number))
        return (await _frame(ends[0]))[1]

    async def serve(self, ends: Ends, server: Server) -> None:
        """Answer."""
        sequence = 0
        while server.gives:
            await ends[0].readexactly(raw_tcp.ACKNOWLEDGEMENT_BYTES)
            data = await server.give()
            if data is None:
                return
            ends[1].write(raw_tcp.frame(data, _SESSION, sequence))
            sequence += 1
        while True:
            number, data = await _frame(ends[0])
            server.take(data)
            ends[1].write(raw_tcp.acknowledgement(_SESSION, number))


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


class Mail(Dialect):
    """smtp: the server speaks first; one mail a message."""

    def __init__(self, host: str, spec: SmtpSpec):
        super().__init__(host)
        self._spec, self._say = spec, smtp.dialogue(spec)

    async def open(self, ends: Ends) -> None:
        """Say what comes first."""
        for command, reply in self._say["opening"]:
            ends[1].write(command)
            await ends[0].readexactly(len(reply))

    async def push(self, ends: Ends, data: bytes, number: int) -> None:
        """Hand a message over."""
        content = smtp.head(self._spec) + smtp.write_body(data) + smtp.END
        for command, reply in (*self._say["before"], (content, smtp.ACCEPTED)):
            ends[1].write(command)
            await ends[0].readexactly(len(reply))

    async def bye(self, ends: Ends) -> None:
        """Say what comes last."""
        for command, reply in self._say["closing"]:
            ends[1].write(command)
            await ends[0].readexactly(len(reply))

    async def serve(self, ends: Ends, server: Server) -> None:
        """Answer."""
        (_, banner), *others = self._say["opening"]
        replies = {command.split()[0].split(b":")[0]: reply for command, reply in others}
        for part in ("before", "closing"):
            replies |= {command.split(b"\r")[0][:4]: reply for command, reply in self._say[part]}
        ends[1].write(banner)
        while True:
            command = await ends[0].readuntil(b"\r\n")
            ends[1].write(replies[command[:4].rstrip()])
            if command.startswith(b"DATA"):
                mail = await ends[0].readuntil(b"\r\n" + smtp.END)
                body = mail[: -len(smtp.END)].partition(b"\r\n\r\n")[2]
                server.take(base64.b64decode(body.replace(b"\r\n", b""), validate=True))
                ends[1].write(smtp.ACCEPTED)
            elif command.startswith(b"QUIT"):
                ends[1].close()
                return


class Frames(Dialect):
    """drip: frames on a WebSocket that nobody answers; who pulls only listens."""

    confirmed = False
    _mask = b"\x37\xfa\x21\x3d"

    async def open(self, ends: Ends) -> None:
        """Say what comes first."""
        asked, told = drip.upgrade(self.host)
        ends[1].write(asked)
        await ends[0].readexactly(len(told))

    async def push(self, ends: Ends, data: bytes, number: int) -> None:
        """Hand a message over."""
        ends[1].write(drip.frame(data, self._mask))
        await ends[1].drain()

    async def pull(self, ends: Ends, number: int) -> bytes:
        """Get a message."""
        return await _websocket(ends[0])

    async def serve(self, ends: Ends, server: Server) -> None:
        """Answer."""
        await ends[0].readuntil(b"\r\n\r\n")
        ends[1].write(drip.upgrade(self.host)[1])
        while server.gives:
            data = await server.give()
            if data is None:
                return
            ends[1].write(drip.frame(data, None))
            await server.given()
        while True:
            server.take(await _websocket(ends[0]))


async def _answered(ends: Ends) -> tuple[bytes, bytes]:
    head, content = await read_http(ends[0])
    if b" 404 " in head[:20]:
        raise NothingHereError("404")
    return head, content


def _cookie(head: bytes) -> bytes:
    at = head.index(_COOKIE) + len(_COOKIE)
    value = head[at : head.index(b"\r\n", at)].split(b";")[0]
    return base64.urlsafe_b64decode(value + b"=" * (-len(value) % 4))


async def _frame(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    """(sequence number, data) of the next raw_tcp frame."""
    head = await reader.readexactly(raw_tcp.FRAME_BYTES)
    messages, _ = raw_tcp.unframe(head + await reader.readexactly(int.from_bytes(head[-4:])))
    return messages[0][1], messages[0][2]


async def _websocket(reader: asyncio.StreamReader) -> bytes:
    """Data of the next frame (RFC 6455, 5.2)."""
    _, second = await reader.readexactly(2)
    count = second & 0x7F
    if count > 125:
        count = int.from_bytes(await reader.readexactly(2 if count == 126 else 8))
    mask = await reader.readexactly(drip.MASK_BYTES) if second & 0x80 else b"\0"
    data = await reader.readexactly(count)
    return bytes(byte ^ mask[i % len(mask)] for i, byte in enumerate(data))
