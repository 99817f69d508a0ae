"""Bytes of unknown origin as text that a terminal, a table and a report can show."""

from __future__ import annotations

from typing import Final

_PRINTABLE: Final = [chr(b) if 0x20 <= b <= 0x7E else f"\\x{b:02x}" for b in range(256)]


def printable(data: bytes) -> str:
    r"""ASCII as it is, everything else as \xHH: no control character, no direction mark survives.

    >>> printable(b"caf\xc3\xa9\n")
    'caf\\xc3\\xa9\\x0a'
    """
    if data.isascii() and (text := data.decode("ascii")).isprintable():
        return text
    return "".join([_PRINTABLE[byte] for byte in data])
