"""Classic pcap: file header (Python, once a file) and record splitter (kernel).

Format: https://www.ietf.org/archive/id/draft-ietf-opsawg-pcap; the "modified" variant (magic A1B2CD34) has eight more
bytes per record. Before version 2.3 the two lengths of a record stood in the other order.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from mimir.capture.fields import Bytes, u32
from mimir.errors import CaptureError
from mimir.jit import Int, inlined

HEADER_BYTES = 24
#: magic number → (ns per unit of the second time field, bytes of a record header)
MAGICS = {0xA1B2C3D4: (1000, 16), 0xA1B23C4D: (1, 16), 0xA1B2CD34: (1000, 24)}
#: no tool writes longer packets on link types that carry IP; a longer claim means damage
MAX_CAPTURED_BYTES = 262_144
#: what a splitter says about the bytes at hand
RECORD, MORE, BLOCK, SKIP, DAMAGED, UNUSABLE = 0, 1, 2, 3, 4, 5
#: layout of the format array that kernels take
KIND, BIG, NS_PER_UNIT, RECORD_HEADER, SWAPPED_LENGTHS, LINKTYPE, INTERFACES = range(7)
KIND_PCAP, KIND_PCAPNG = 0, 1


def parse_header(path: Path, head: bytes) -> NDArray[np.int64]:
    """First 24 bytes of a pcap file → format array. Raises CaptureError when the file is not a usable pcap."""
    order: Literal["little", "big"]
    for order in ("little", "big"):
        magic = int.from_bytes(head[:4], order)
        if magic in MAGICS:
            break
    if len(head) < HEADER_BYTES:
        raise CaptureError(path, f"the pcap file header needs {HEADER_BYTES} bytes, {len(head)} are there", len(head))
    major, minor = (int.from_bytes(head[i : i + 2], order) for i in (4, 6))
    if (major, minor) == (0x0200, 0x0400):  # written by a tool with the wrong byte order
        major, minor = 2, 4
    if major != 2 and (major, minor) != (543, 0):
        raise CaptureError(path, f"pcap version {major}.{minor} is not supported (2.x is)", 4)
    link = int.from_bytes(head[20:24], order)
    if link & 0x03FF_0000:
        raise CaptureError(path, f"the reserved bits of the pcap link type are set (0x{link:08x})", 20)
    ns_per_unit, record_header = MAGICS[magic]
    swapped = 1 if (major, minor) == (543, 0) or minor < 3 else 2 if minor == 3 else 0
    fields = [KIND_PCAP, order == "big", ns_per_unit, record_header, swapped, link & 0xFFFF, 0]
    return np.array(fields, dtype=np.int64)


@inlined
def next_record(buf: Bytes, at: Int, end: Int, fmt: NDArray[np.int64]) -> tuple[Int, Int, Int, Int, Int, Int, Int, Int]:
    """Record at `at` → (status, next record, frame offset, captured, original, time in ns, interface, link type).

    For MORE, the second value is how many bytes from `at` are needed.
    """
    header, big = fmt[RECORD_HEADER], fmt[BIG] != 0
    if end - at < header:
        return MORE, header, at, 0, 0, 0, -1, 0
    ts_ns = u32(buf, at, big) * 1_000_000_000 + u32(buf, at + 4, big) * fmt[NS_PER_UNIT]
    captured, original = u32(buf, at + 8, big), u32(buf, at + 12, big)
    if fmt[SWAPPED_LENGTHS] == 1 or (fmt[SWAPPED_LENGTHS] == 2 and captured > original):
        captured, original = original, captured
    if captured > MAX_CAPTURED_BYTES:
        return DAMAGED, at, at, captured, original, ts_ns, -1, 0
    if end - at < header + captured:
        return MORE, header + captured, at, 0, 0, 0, -1, 0
    frame = at + header
    return RECORD, frame + captured, frame, captured, original, ts_ns, -1, fmt[LINKTYPE]
