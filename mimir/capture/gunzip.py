"""gzip, of which everything is handed out that can be unpacked before a stream is damaged or cut."""

from __future__ import annotations

import gzip
import io
import zlib
from typing import Any

#: compressed bytes read at a time
CHUNK_BYTES = 1 << 16
GZIP_MAGIC = b"\x1f\x8b"
#: zlib's window bits for gzip with its header and checksum (zlib.h, inflateInit2)
WITH_HEADER = 31


class Gunzip:
    """Members of a gzip file one after the other (RFC 1952, 2.2). Python's own reader drops what it has when an error comes."""

    def __init__(self, raw: io.RawIOBase):
        self._raw, self._stream = raw, zlib.decompressobj(WITH_HEADER)
        self._packed, self._out = b"", b""
        self._error: Exception | None = None
        self._full = False  #: the last call gave all it was allowed: there may be more without further input

    def readinto(self, room: Any) -> int:
        """Fill `room` in part; 0 at the end. Raises EOFError, zlib.error or gzip.BadGzipFile once all before is out."""
        while not self._out:
            if self._error:
                raise self._error
            if not self._ready():
                return 0
            self._unpack(len(room))
        size = min(len(room), len(self._out))
        room[:size], self._out = self._out[:size], self._out[size:]
        return size

    def close(self) -> None:
        """Nothing of its own is open."""

    def _ready(self) -> bool:
        """Have a member and bytes of it at hand; False when the last member ended well."""
        if self._stream.eof:
            self._packed = self._stream.unused_data.lstrip(b"\0")  # some tools pad to whole blocks
            while len(self._packed) < len(GZIP_MAGIC):
                more = self._raw.read(CHUNK_BYTES)
                if not more:
                    break
                self._packed = (self._packed + more).lstrip(b"\0")
            if not self._packed:
                return False
            if self._packed[: len(GZIP_MAGIC)] != GZIP_MAGIC:
                raise gzip.BadGzipFile(f"what follows is no gzip ({self._packed[:4].hex(' ')})")
            self._stream = zlib.decompressobj(WITH_HEADER)
        if not self._packed and not self._full:
            self._packed = self._raw.read(CHUNK_BYTES) or b""
            if not self._packed:
                raise EOFError("it ends before its end marker")
        return True

    def _unpack(self, size: int) -> None:
        before = self._stream.copy()
        try:
            self._out = self._stream.decompress(self._packed, size)
            self._packed, self._full = self._stream.unconsumed_tail, len(self._out) == size
        except zlib.error as error:
            self._stream = before
            self._unpack_bytewise(size, error)

    def _unpack_bytewise(self, size: int, error: zlib.error) -> None:
        """Up to the byte that is wrong."""
        out, at = bytearray(), 0
        try:
            while len(out) < size and at < len(self._packed):
                out += self._stream.decompress(self._packed[at : at + 1])
                at += 1
        except zlib.error:
            self._error = error
        self._out, self._packed, self._full = bytes(out), self._packed[at:], False
