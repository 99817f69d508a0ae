"""HTTP/1.1 over TLS from a host of the testbed: probes and built-in users of real web servers."""

from __future__ import annotations

import asyncio
import ssl
from dataclasses import dataclass

from mimir.cluster.netns.hosts import Host


@dataclass
class Visitor:
    """One client with at most one connection, kept until either side closes it."""

    host: Host
    address: str
    port: int
    streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def hello(self) -> None:
        """Connect and shake hands, unless connected. OSError or ssl.SSLError when there is nobody."""
        if self.streams and not (self.streams[0].at_eof() or self.streams[1].is_closing()):
            return
        self.close()
        reader, writer = await self.host.connect(self.address, self.port)
        self.streams = reader, writer
        await writer.start_tls(_context(), server_hostname=self.address)

    async def ask(self, action: str, headers: dict[str, str], body: bytes = b"") -> tuple[int, int]:
        """(status, bytes of the reply). Raises what a broken connection raises."""
        await self.hello()
        assert self.streams
        reader, writer = self.streams
        own = {"Host": f"{self.address}:{self.port}", **headers}
        if body or not action.startswith("GET "):
            own["Content-Length"] = str(len(body))
        writer.write(f"{action} HTTP/1.1\r\n".encode() + b"".join(f"{k}: {v}\r\n".encode() for k, v in own.items()))
        writer.write(b"\r\n" + body)
        head = await reader.readuntil(b"\r\n\r\n")
        size = len(head) + await _body(reader, head.lower())
        if b"\r\nconnection: close" in head.lower():
            self.close()
        return int(head.split(b" ", 2)[1]), size

    def close(self) -> None:
        """Close the connection."""
        if self.streams:
            self.streams[1].close()
        self.streams = None


async def _body(reader: asyncio.StreamReader, head: bytes) -> int:
    """Bytes of a body with a length, or in chunks; IncompleteReadError when it ends early."""
    if b"\r\ntransfer-encoding: chunked" in head:
        total = 0
        while True:
            line = await reader.readuntil(b"\r\n")
            count = int(line.split(b";")[0], 16)
            await reader.readexactly(count + 2)
            total += len(line) + count + 2
            if not count:
                return total
    at = head.find(b"\r\ncontent-length:")
    count = int(head[at + 17 : head.index(b"\r\n", at + 2)]) if at >= 0 else 0
    await reader.readexactly(count)
    return count


def _context() -> ssl.SSLContext:
    """Certificates of the testbed are self-signed, made for one run: nobody checks them, as kubelets do not."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context
