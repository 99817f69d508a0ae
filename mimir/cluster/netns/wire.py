"""Messages between services, at the sizes the application model draws.

`http` services speak HTTP/1.1 with keep-alive, `grpc` services HTTP/2 (`http2.py`), real stores their own protocol (`stores`).
Everything else speaks one framing of request and response, whatever the protocol's name: big-endian total length (u32),
in a request also the endpoint (u16) and the response length wanted (u16, 0: the server draws it), then filler: sizes, order
and connections are those of the model, contents are not.
"""

from __future__ import annotations

import struct
from asyncio import StreamReader
from dataclasses import dataclass

_FRAME, _LENGTH = struct.Struct("!IHH"), struct.Struct("!I")
FRAME_LEAST, REPLY_LEAST, MOST = _FRAME.size, _LENGTH.size, 64_000_000
BACKGROUND, PUSHED_ACK = (
    0xFFFF,
    0xFFFE,
)  #: instead of an endpoint: answer `wanted` bytes; acknowledge and answer nothing
_MARK = b"X-Mimir-Call: "
_FILL = b"mimir-synthetic-filler-" * 64


@dataclass(frozen=True)
class Asked:
    """A request that arrived: endpoint number (of `CallTrees.endpoints`), reply length wanted or 0, the body."""

    endpoint: int
    wanted: int
    close: bool
    size: int
    body: bytes = b""
    path: str = ""


@dataclass(frozen=True)
class Call:
    """A request to be sent: `size` bytes above TCP to an endpoint; `wanted` bytes back, 0 where the server draws them."""

    protocol: str
    action: str
    host: str
    endpoint: int
    size: int
    wanted: int = 0
    close: bool = False

    def encoded(self) -> bytes:
        """As HTTP/1.1 or as a frame."""
        return request_bytes(
            self.protocol, self.action, self.host, self.endpoint, self.size, wanted=self.wanted, close=self.close
        )


def filler(count: int) -> bytes:
    """So many bytes that mean nothing."""
    return (_FILL * (count // len(_FILL) + 1))[:count]


def http_request(action: str, host: str, endpoint: int, size: int, *, wanted: int = 0, close: bool = False) -> bytes:
    """A request of `size` bytes, or a few more where its head alone needs them."""
    method, _, path = action.partition(" ")
    head = f"{method} {path.replace(' ', '') or '/'} HTTP/1.1\r\nHost: {host}\r\n".encode()
    head += (b"Connection: close\r\n" if close else b"") + _MARK + f"{endpoint} {wanted}".encode()
    if method in ("POST", "PUT", "PATCH"):
        body = max(0, size - len(head) - len(b"\r\nContent-Length: 12345678\r\n\r\n"))
        return head + f"\r\nContent-Length: {body:08d}\r\n\r\n".encode() + filler(body)
    room = size - len(head) - len(b"\r\n\r\n")
    return head + (b" " + filler(room - 1) if room > 0 else b"") + b"\r\n\r\n"


def http_response(size: int, *, close: bool = False) -> bytes:
    """A reply of `size` bytes, or a few more where its head alone needs them."""
    head = b"HTTP/1.1 200 OK\r\n" + (b"Connection: close\r\n" if close else b"")
    body = max(0, size - len(head) - len(b"Content-Length: 12345678\r\n\r\n"))
    return head + f"Content-Length: {body:08d}\r\n\r\n".encode() + filler(body)


async def read_http(reader: StreamReader, first: bytes = b"") -> tuple[bytes, bytes]:
    """Head and body of one message, of which `first` was read already. IncompleteReadError at the end of the stream."""
    head = first + await reader.readuntil(b"\r\n\r\n")
    at = head.lower().find(b"content-length:")
    count = int(head[at + 15 : head.index(b"\r\n", at)]) if at >= 0 else 0
    if count > MOST:
        raise ValueError(f"a body of {count} bytes")
    return head, await reader.readexactly(count) if count else b""


async def read_asked(reader: StreamReader, protocol: str, first: bytes) -> Asked:
    """The next request of a connection, whose first four bytes were read. IncompleteReadError at the end of the stream."""
    if protocol == "http":
        head, body = await read_http(reader, first)
        at = head.find(_MARK)
        endpoint, wanted = (
            (int(x) for x in head[at + len(_MARK) : head.index(b"\r\n", at)].split()[:2]) if at >= 0 else (-1, 0)
        )
        path = head.split(b" ", 2)[1].decode("ascii", "replace")
        return Asked(endpoint, wanted, b"Connection: close" in head, len(head) + len(body), body, path)
    size, endpoint, wanted = _FRAME.unpack(first + await reader.readexactly(FRAME_LEAST - len(first)))
    if not FRAME_LEAST <= size <= MOST:
        raise ValueError(f"a frame of {size} bytes")
    body = await reader.readexactly(size - FRAME_LEAST)
    return Asked(endpoint, wanted, False, size, body)


async def read_reply(reader: StreamReader, protocol: str) -> int:
    """Bytes of the next reply."""
    if protocol == "http":
        head, body = await read_http(reader)
        return len(head) + len(body)
    (size,) = _LENGTH.unpack(await reader.readexactly(REPLY_LEAST))
    if not REPLY_LEAST <= size <= MOST:
        raise ValueError(f"a frame of {size} bytes")
    await reader.readexactly(size - REPLY_LEAST)
    return int(size)


def request_bytes(
    protocol: str, action: str, host: str, endpoint: int, size: int, *, wanted: int = 0, close: bool = False
) -> bytes:
    """A request in the protocol of the server."""
    if protocol == "http":
        return http_request(action, host, endpoint, size, wanted=wanted, close=close)
    size = max(size, FRAME_LEAST)
    return _FRAME.pack(size, endpoint, min(wanted, 0xFFFF)) + filler(size - FRAME_LEAST)


def reply_bytes(protocol: str, size: int, *, close: bool = False) -> bytes:
    """A reply in the protocol of the server."""
    if protocol == "http":
        return http_response(size, close=close)
    size = max(size, REPLY_LEAST)
    return _LENGTH.pack(size) + filler(size - REPLY_LEAST)
