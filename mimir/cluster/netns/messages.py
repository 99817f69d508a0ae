"""Protocol buffers that mean nothing: the messages of gRPC calls, of exactly the length that is wanted."""

from __future__ import annotations

from mimir.cluster.netns.wire import filler

_ENDPOINT, _WANTED, _FILLER = 0x08, 0x10, 0x1A  # tags of the fields 1 and 2 (varint) and 3 (bytes)


def varint(value: int, least: int = 1) -> bytes:
    """A base-128 number, in `least` bytes or more."""
    out = bytearray()
    while value > 0x7F or len(out) + 1 < least:
        out.append(0x80 | value & 0x7F)
        value >>= 7
    out.append(value)
    return bytes(out)


def grpc_message(size: int, endpoint: int | None = None, wanted: int = 0) -> bytes:
    """A message of `size` bytes, or of a few more or one less where its fields cannot be that short.

    >>> [len(grpc_message(size, 3)) for size in (2, 4, 60, 130, 131, 132)]
    [2, 4, 60, 130, 131, 132]
    """
    fields = b"" if endpoint is None else bytes([_ENDPOINT]) + varint(endpoint)
    fields += bytes([_WANTED]) + varint(wanted) if wanted else b""
    room = size - len(fields)
    if room < 2:
        return fields
    width = len(varint(room - 2))
    rest = room - 1 - width
    return fields + bytes([_FILLER]) + varint(rest, width) + filler(rest)


def read_message(message: bytes) -> tuple[int, int]:
    """(endpoint, reply length wanted) of a request; -1 and 0 where it does not say. ValueError when it is no message."""
    found, at = {_ENDPOINT: -1, _WANTED: 0}, 0
    while at < len(message) and message[at] in found:
        tag, value, shift, at = message[at], 0, 0, at + 1
        while True:
            if at >= len(message) or shift > 56:
                raise ValueError("a number that does not end")
            value |= (message[at] & 0x7F) << shift
            at, shift = at + 1, shift + 7
            if not message[at - 1] & 0x80:
                break
        found[tag] = value
    return found[_ENDPOINT], found[_WANTED]
