"""TLS ClientHello and ServerHello (RFC 8446, 4.1.2 and 4.1.3; RFC 6066, 3; RFC 7301) from one segment each."""

from __future__ import annotations

import struct

from mimir.capture.text import printable

HANDSHAKE, CLIENT_HELLO, SERVER_HELLO, SERVER_NAME, ALPN, HOST_NAME = 22, 1, 2, 0, 16, 0
#: far more than honest clients send; a record has room for four thousand empty extensions
MAX_EXTENSIONS, MAX_PROTOCOLS, MAX_NAME_BYTES = 128, 16, 255


class Cut(Exception):
    """The message goes on in a segment that is not at hand, or a length in it leads beyond its end."""


class _Bytes:
    """Bytes that are taken from the front; taking more than there is raises Cut."""

    def __init__(self, data: bytes):
        self.data, self.at = data, 0

    def take(self, size: int) -> bytes:
        if self.at + size > len(self.data):
            raise Cut
        self.at += size
        return self.data[self.at - size : self.at]

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size), "big")

    def vector(self, length_bytes: int) -> bytes:
        """A byte string behind its own length."""
        return self.take(self.number(length_bytes))

    @property
    def left(self) -> int:
        return len(self.data) - self.at


def read_hello(data: bytes) -> tuple[dict[str, str], bool]:
    """TLS record → (fields under Wireshark's names, was the hello there to its end?).

    A hello that goes on in the next segment or record gives what its first part holds. A server names the protocol it
    chose (TLS 1.3 hides that).
    """
    out: dict[str, str] = {}
    try:
        kind, _, length = struct.unpack_from(">BHH", data)
        if kind != HANDSHAKE:
            return {}, False
        hello = _Bytes(data[5 : 5 + length])
        who = hello.number(1)
        if who not in (CLIENT_HELLO, SERVER_HELLO):
            return {}, False
        size = hello.number(3)
        _extensions(_Bytes(hello.data[4 : 4 + size]), who == CLIENT_HELLO, out)
        return out, len(hello.data) >= 4 + size
    except (Cut, struct.error):
        return out, False


def _extensions(body: _Bytes, client: bool, out: dict[str, str]) -> None:
    body.take(34)  # version and random
    body.vector(1)  # session
    if client:
        body.vector(2)  # cipher suites
        body.vector(1)  # compression methods
    else:
        body.take(3)  # the chosen ones
    if not body.left:
        return  # TLS 1.0 without extensions
    end = body.number(2)
    for _ in range(MAX_EXTENSIONS):
        if end < 4:
            return
        kind, value = body.number(2), body.vector(2)
        end -= 4 + len(value)
        if kind == SERVER_NAME and (name := _server_name(_Bytes(value))):
            out["tls.handshake.extensions_server_name"] = name
        elif kind == ALPN and (protocols := _protocols(_Bytes(value))):
            out["tls.handshake.extensions_alpn_str"] = protocols


def _server_name(value: _Bytes) -> str:
    """The host name of the list; "" when it has none or does not hold together."""
    try:
        value.number(2)
        if value.number(1) != HOST_NAME:
            return ""
        return printable(value.vector(2)[:MAX_NAME_BYTES])
    except Cut:
        return ""


def _protocols(value: _Bytes) -> str:
    names: list[str] = []
    try:
        value.number(2)
        while value.left and len(names) < MAX_PROTOCOLS:
            names.append(printable(value.vector(1)))
    except Cut:
        pass
    return ",".join(names)
