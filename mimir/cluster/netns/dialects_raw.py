"""The dialects of a leak's hops that are no HTTP: raw frames, mail, WebSocket frames."""

from __future__ import annotations

import asyncio
import base64

from mimir.cluster.netns.dialects import Dialect, Ends, Server
from mimir.exfiltration.channels import drip, raw_tcp, smtp
from mimir.spec.exfiltration import SmtpSpec

_SESSION = int.from_bytes(raw_tcp.MAGIC)


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
