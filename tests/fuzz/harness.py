"""What a fuzzer calls: bytes as a capture file through reader and decoder, in plain Python, with what must always hold.

Import it with NUMBA_DISABLE_JIT=1: machine code gives a coverage-guided fuzzer nothing to go by.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from mimir.capture import reader
from mimir.capture.dns import query_of
from mimir.capture.tunnels import MAX_TUNNELS
from mimir.errors import CaptureError

#: gzip and zstd are other people's decoders; their magic would only send the fuzzer there
COMPRESSED = (b"\x1f\x8b", b"\x28\xb5\x2f\xfd")
ROWS, BLOCK_BYTES = 32, 512


def in_python(make: Callable[[], Any]) -> Callable[[], Any]:
    """Records of a structured array with attributes, as kernels see them."""
    return lambda: make().view(np.recarray)


reader.new_tunnels = in_python(reader.new_tunnels)  # type: ignore[assignment]


def scratch() -> Path:
    """A file in memory where that is possible."""
    folder = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    handle, name = tempfile.mkstemp(prefix="mimir-fuzz-", dir=folder)
    os.close(handle)
    return Path(name)


def check(data: bytes, path: Path) -> int:
    """Read `data` as a capture; returns its packets. Raises AssertionError, or whatever a bug raises."""
    if data[:2] == COMPRESSED[0] or data[:4] == COMPRESSED[1]:
        return 0
    path.write_bytes(data)
    rows = 0
    try:
        capture = reader.open_capture(path, block_bytes=BLOCK_BYTES, batch_rows=ROWS)
        for batch in capture:
            rows += len(batch)
            assert 0 < len(batch) <= ROWS
            assert batch.tunnel.min() >= -1
            assert batch.tunnel.max() < MAX_TUNNELS
            for at, size in zip(batch.dns_offset.tolist(), batch.dns_bytes.tolist(), strict=True):
                if at >= 0:
                    queries, name_bytes = query_of(batch.data, at, size)
                    assert 0 <= queries <= size
                    assert 0 <= name_bytes <= 255
    except CaptureError:
        return 0
    counts = capture.counts
    assert counts.rows == rows
    assert counts.packets == rows + sum(s.packets for s in counts.skipped.values())
    assert counts.bytes == counts.row_bytes + sum(s.bytes for s in counts.skipped.values())
    assert counts.packets <= len(data) // 8 + 1
    return counts.packets
