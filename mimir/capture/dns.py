"""Names in DNS messages (RFC 1035), with every loop bounded: messages come from anyone."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from mimir.capture.batch import PacketBatch
from mimir.capture.fields import Bytes, be16
from mimir.jit import Int, kernel

HEADER_BYTES = 12
MAX_NAME_BYTES = 255
MAX_LABELS = 128


@kernel
def query_of(data: Bytes, at: Int, size: Int) -> tuple[Int, Int]:
    """DNS message → (1 if it is a query with a question, bytes of the first question's name as text).

    The text has its dots but no last one. Of a name that was not captured in full, the captured bytes count.
    """
    if size < HEADER_BYTES or data[at + 2] & 0x80 or be16(data, at + 4) == 0:
        return 0, 0
    end, place, length = at + size, at + HEADER_BYTES, 0
    for _ in range(MAX_LABELS):
        if place >= end:
            break
        label = np.int64(data[place])
        if label == 0 or label > 63:  # the end; a question's name is never compressed by honest software
            break
        length += min(label, end - place - 1) + 1
        place += 1 + label
    return 1, min(max(length - 1, 0), MAX_NAME_BYTES)


def read_name(message: bytes, at: int = HEADER_BYTES) -> tuple[str, int]:
    r"""Name at byte `at` of a message → (text without the last dot, where it ends).

    Bytes that are not printable ASCII appear as \DDD (RFC 1035, 5.1). Raises ValueError for a name that is cut off,
    too long, or whose compression pointers do not lead backwards (RFC 9267).

    >>> read_name(b"\0" * 12 + b"\3www\7example\0")
    ('www.example', 25)
    """
    labels: list[str] = []
    end, total = -1, 0
    while True:
        if at >= len(message):
            raise ValueError("the DNS name is cut off")
        size = message[at]
        if size >= 0xC0:
            if at + 1 >= len(message):
                raise ValueError("the DNS name is cut off")
            target = (size & 0x3F) << 8 | message[at + 1]
            end = at + 2 if end < 0 else end
            if target >= at:
                raise ValueError("a DNS compression pointer does not lead backwards")
            at = target
            total += 1  # pointers count as well: a chain of them ends
        elif size > 63:
            raise ValueError(f"unknown DNS label type 0x{size:02x}")
        elif size == 0:
            return ".".join(labels), at + 1 if end < 0 else end
        else:
            if at + 1 + size > len(message):
                raise ValueError("the DNS name is cut off")
            labels.append("".join(_printable(byte) for byte in message[at + 1 : at + 1 + size]))
            at += 1 + size
            total += 1 + size
        if total > MAX_NAME_BYTES:
            raise ValueError("the DNS name is longer than 255 bytes")


def _printable(byte: int) -> str:
    return chr(byte) if 0x21 <= byte <= 0x7E and byte not in b".\\" else f"\\{byte:03d}"


def query_names(batch: PacketBatch) -> Iterator[tuple[int, str]]:
    """(row, name) of every DNS query in a batch whose first name was captured in full."""
    for row in np.flatnonzero(batch.dns_offset >= 0).tolist():
        start = int(batch.dns_offset[row])
        message = batch.data[start : start + int(batch.dns_bytes[row])].tobytes()
        if len(message) > HEADER_BYTES and not message[2] & 0x80 and message[4:6] != b"\0\0":
            try:
                yield row, read_name(message)[0]
            except ValueError:
                continue
