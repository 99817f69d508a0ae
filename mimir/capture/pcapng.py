"""pcapng: sections and interfaces (Python, rare) and packet blocks (kernel).

Format: https://www.ietf.org/archive/id/draft-ietf-opsawg-pcapng (blocks SHB, IDB, EPB, SPB and the obsolete PB).
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from mimir.capture.fields import Bytes, u16, u32
from mimir.capture.pcap import (
    BIG,
    BLOCK,
    DAMAGED,
    INTERFACES,
    KIND,
    KIND_PCAPNG,
    MAX_CAPTURED_BYTES,
    MORE,
    RECORD,
    SKIP,
    UNUSABLE,
)
from mimir.errors import CaptureError
from mimir.jit import Int, inlined, kernel

Order: TypeAlias = Literal["little", "big"]
SECTION, INTERFACE, PACKET, SIMPLE_PACKET, ENHANCED_PACKET = 0x0A0D0D0A, 1, 2, 3, 6
#: longer blocks are stepped over (name tables, decryption secrets) or mean damage (packets)
MAX_BLOCK_BYTES = 1 << 20
MAX_INTERFACES = 1 << 16
#: how a time stamp becomes ns: times VALUE, divided by VALUE, or a binary fraction of VALUE bits
MULTIPLY, DIVIDE, SHIFT = 0, 1, 2
#: layout of a row of the interface table
IF_LINKTYPE, IF_MODE, IF_VALUE, IF_OFFSET_NS, IF_SNAPLEN = range(5)
NO_TIME = -(2**63)
IF_TSRESOL, IF_TSOFFSET = 9, 14


def new_format() -> NDArray[np.int64]:
    """The format array of a pcapng file before its first section header."""
    fmt = np.zeros(7, dtype=np.int64)
    fmt[KIND] = KIND_PCAPNG
    return fmt


def section_length(path: Path, head: bytes, offset: int) -> tuple[Order, int]:
    """Section header block → (byte order, total length). Raises CaptureError for what is no section header."""
    if len(head) < 28:
        raise CaptureError(path, "the file ends inside a pcapng section header", offset)
    magic = head[8:12]
    if magic not in (b"\x4d\x3c\x2b\x1a", b"\x1a\x2b\x3c\x4d"):
        raise CaptureError(path, "bad byte-order magic in a pcapng section header", offset + 8)
    order: Order = "little" if magic[0] == 0x4D else "big"
    total = int.from_bytes(head[4:8], order)
    major, minor = (int.from_bytes(head[i : i + 2], order) for i in (12, 14))
    if major != 1 or minor not in (0, 2):
        raise CaptureError(path, f"pcapng version {major}.{minor} is not supported (1.0 is)", offset + 12)
    if not 28 <= total <= MAX_BLOCK_BYTES or total % 4:
        raise CaptureError(path, f"a pcapng section header claims {total} bytes", offset + 4)
    return order, total


def check_block(path: Path, block: bytes, order: Order, fixed: int, offset: int) -> None:
    """Raise CaptureError if the two lengths of a block differ or its options do not fit after `fixed` bytes."""
    total = int.from_bytes(block[-4:], order)
    if total != len(block):
        raise CaptureError(
            path, f"the lengths at both ends of a pcapng block differ ({len(block)} and {total})", offset
        )
    at = fixed
    while at + 4 <= len(block) - 4:
        code, size = (int.from_bytes(block[i : i + 2], order) for i in (at, at + 2))
        if at + 4 + size > len(block) - 4:
            raise CaptureError(path, f"a pcapng option claims {size} bytes, more than its block has", offset + at)
        if code == 0:
            break
        at += 4 + (size + 3) // 4 * 4


def parse_interface(block: bytes, order: Order) -> list[int]:
    """Interface description block → a row of the interface table."""
    linktype = int.from_bytes(block[8:10], order)
    snaplen = int.from_bytes(block[12:16], order)
    mode, value, offset_s, at = MULTIPLY, 1000, 0, 16
    while at + 4 <= len(block) - 4:
        code, size = (int.from_bytes(block[i : i + 2], order) for i in (at, at + 2))
        body = block[at + 4 : at + 4 + size]
        if code == 0:
            break
        if code == IF_TSRESOL and size >= 1:
            mode, value = resolution(body[0])
        elif code == IF_TSOFFSET and size == 8:
            offset_s = int.from_bytes(body, order, signed=True)
        at += 4 + (size + 3) // 4 * 4
    if abs(offset_s) > 9_000_000_000:
        offset_s = 0
    return [linktype, mode, value, offset_s * 1_000_000_000, snaplen]


def resolution(code: int) -> tuple[int, int]:
    """if_tsresol → (mode, value). Units so fine that 64 bits of them are no ns give time 0: a shift by 127 bits.

    >>> resolution(6), resolution(9), resolution(12), resolution(0x80 | 20), resolution(40)
    ((0, 1000), (0, 1), (1, 1000), (2, 20), (2, 127))
    """
    exponent = code & 0x7F
    if code & 0x80:
        return SHIFT, exponent
    if exponent <= 9:
        return MULTIPLY, int(10 ** (9 - exponent))
    return (DIVIDE, int(10 ** (exponent - 9))) if exponent <= 27 else (SHIFT, 127)


@inlined
def to_ns(high: Int, low: Int, mode: Int, value: Int, offset_ns: Int) -> Int:
    """64-bit time stamp of an interface → ns since the epoch; NO_TIME when it lies beyond int64."""
    if mode == MULTIPLY:
        if high >= 0x80000000 or ((high << 32) | low) > 9_000_000_000_000_000_000 // value:
            return NO_TIME
        ns = ((high << 32) | low) * value
    elif mode == DIVIDE:
        ns = np.int64(((np.uint64(high) << np.uint64(32)) | np.uint64(low)) // np.uint64(value))
    else:
        ns = binary_to_ns(high, low, value)
        if ns < 0:
            return NO_TIME
    if ns > 9_000_000_000_000_000_000 - max(offset_ns, 0):
        return NO_TIME
    return ns + offset_ns


@kernel
def binary_to_ns(high: Int, low: Int, bits: Int) -> Int:
    """Unsigned 64-bit count of 2^-bits s → ns, rounded down; -1 beyond 9e9 s. The product has up to 94 bits."""
    if bits <= 32:
        seconds = (high << (32 - bits)) | (low >> bits)
        if high >> bits > 3 or seconds > 9_000_000_000:
            return -1
        return seconds * 1_000_000_000 + (((low & ((1 << bits) - 1)) * 1_000_000_000) >> bits)
    upper = high * 1_000_000_000 + ((low * 1_000_000_000) >> 32)  # of the product, all but the lowest 32 bits
    return upper >> (bits - 32) if bits < 95 else 0


@inlined
def next_block(
    buf: Bytes, at: Int, end: Int, fmt: NDArray[np.int64], interfaces: NDArray[np.int64]
) -> tuple[Int, Int, Int, Int, Int, Int, Int, Int]:
    """Block at `at` → (status, next block, frame offset, captured, original, time in ns, interface, link type).

    BLOCK asks for Python (section, interface); SKIP is a block that carries no packet; UNUSABLE a packet block whose
    numbers contradict each other. For MORE, the second value is how many bytes from `at` are needed.
    """
    big = fmt[BIG] != 0
    if end - at < 8:
        return MORE, 8, at, 0, 0, 0, -1, 0
    kind = u32(buf, at, big)
    if kind in (SECTION, INTERFACE):
        return BLOCK, at, at, 0, 0, 0, -1, 0
    total = u32(buf, at + 4, big)
    size = (total + 3) // 4 * 4
    if total < 12:
        return DAMAGED, at, at, 0, 0, 0, -1, 0
    if kind != ENHANCED_PACKET and kind != PACKET and kind != SIMPLE_PACKET:
        return SKIP, at + size, at, 0, 0, 0, -1, 0
    if size > MAX_BLOCK_BYTES:
        return DAMAGED, at, at, 0, 0, 0, -1, 0
    if end - at < size:
        return MORE, size, at, 0, 0, 0, -1, 0
    if u32(buf, at + size - 4, big) != total:
        return DAMAGED, at, at, 0, 0, 0, -1, 0
    if kind == SIMPLE_PACKET:
        return simple_packet(buf, at, size, big, fmt, interfaces)
    if size < 32:
        return UNUSABLE, at + size, at, 0, 0, 0, -1, 0
    which = u32(buf, at + 8, big) if kind == ENHANCED_PACKET else u16(buf, at + 8, big)
    captured, original = u32(buf, at + 20, big), u32(buf, at + 24, big)
    if which >= fmt[INTERFACES] or captured > size - 32 or captured > MAX_CAPTURED_BYTES:
        return UNUSABLE, at + size, at, captured, original, 0, -1, 0
    row = interfaces[which]
    ts_ns = to_ns(u32(buf, at + 12, big), u32(buf, at + 16, big), row[IF_MODE], row[IF_VALUE], row[IF_OFFSET_NS])
    return RECORD, at + size, at + 28, captured, original, ts_ns, which, row[IF_LINKTYPE]


@kernel
def simple_packet(
    buf: Bytes, at: Int, size: Int, big: bool, fmt: NDArray[np.int64], interfaces: NDArray[np.int64]
) -> tuple[Int, Int, Int, Int, Int, Int, Int, Int]:
    """A packet of the first interface, without a time."""
    if fmt[INTERFACES] == 0 or size < 16:
        return UNUSABLE, at + size, at, 0, 0, 0, -1, 0
    original = u32(buf, at + 8, big)
    captured = min(original, size - 16)
    if interfaces[0, IF_SNAPLEN] > 0:
        captured = min(captured, interfaces[0, IF_SNAPLEN])
    return RECORD, at + size, at + 12, captured, original, NO_TIME, 0, interfaces[0, IF_LINKTYPE]
