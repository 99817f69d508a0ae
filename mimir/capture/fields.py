"""Kernels that read integers from bytes. Offsets are int64; callers check bounds."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mimir.capture.jit import U64, Int, kernel

Bytes = NDArray[np.uint8]


@kernel
def be16(buf: Bytes, at: Int) -> Int:
    """Big-endian 16 bits as int64."""
    return (np.int64(buf[at]) << 8) | np.int64(buf[at + 1])


@kernel
def be32(buf: Bytes, at: Int) -> Int:
    """Big-endian 32 bits as int64."""
    return (
        (np.int64(buf[at]) << 24) | (np.int64(buf[at + 1]) << 16) | (np.int64(buf[at + 2]) << 8) | np.int64(buf[at + 3])
    )


@kernel
def le16(buf: Bytes, at: Int) -> Int:
    """Little-endian 16 bits as int64."""
    return np.int64(buf[at]) | (np.int64(buf[at + 1]) << 8)


@kernel
def le32(buf: Bytes, at: Int) -> Int:
    """Little-endian 32 bits as int64."""
    return (
        np.int64(buf[at]) | (np.int64(buf[at + 1]) << 8) | (np.int64(buf[at + 2]) << 16) | (np.int64(buf[at + 3]) << 24)
    )


@kernel
def be64(buf: Bytes, at: Int) -> U64:
    """Big-endian 64 bits as uint64."""
    high, low = np.uint64(be32(buf, at)), np.uint64(be32(buf, at + 4))
    return (high << np.uint64(32)) | low


@kernel
def u32(buf: Bytes, at: Int, big: bool) -> Int:
    """32 bits in the byte order of the file, as int64."""
    return be32(buf, at) if big else le32(buf, at)


@kernel
def u16(buf: Bytes, at: Int, big: bool) -> Int:
    """16 bits in the byte order of the file, as int64."""
    return be16(buf, at) if big else le16(buf, at)
