"""Kernels that read integers from bytes. Callers check bounds, and offsets are never negative.

Indices are unsigned on purpose: a signed one could count from the end, and the test for that on every byte keeps the
compiler from reading four bytes at once.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mimir.jit import U64, Int, inlined

Bytes = NDArray[np.uint8]


@inlined
def byte(buf: Bytes, at: Int) -> Int:
    """One byte as int64."""
    return np.int64(buf[np.uint64(at)])


@inlined
def be16(buf: Bytes, at: Int) -> Int:
    """Big-endian 16 bits as int64."""
    i = np.uint64(at)
    return np.int64((np.uint32(buf[i]) << np.uint32(8)) | np.uint32(buf[i + np.uint64(1)]))


@inlined
def le16(buf: Bytes, at: Int) -> Int:
    """Little-endian 16 bits as int64."""
    i = np.uint64(at)
    return np.int64(np.uint32(buf[i]) | (np.uint32(buf[i + np.uint64(1)]) << np.uint32(8)))


@inlined
def be32(buf: Bytes, at: Int) -> Int:
    """Big-endian 32 bits as int64."""
    i = np.uint64(at)
    return np.int64(
        (np.uint32(buf[i]) << np.uint32(24))
        | (np.uint32(buf[i + np.uint64(1)]) << np.uint32(16))
        | (np.uint32(buf[i + np.uint64(2)]) << np.uint32(8))
        | np.uint32(buf[i + np.uint64(3)])
    )


@inlined
def le32(buf: Bytes, at: Int) -> Int:
    """Little-endian 32 bits as int64."""
    i = np.uint64(at)
    return np.int64(
        np.uint32(buf[i])
        | (np.uint32(buf[i + np.uint64(1)]) << np.uint32(8))
        | (np.uint32(buf[i + np.uint64(2)]) << np.uint32(16))
        | (np.uint32(buf[i + np.uint64(3)]) << np.uint32(24))
    )


@inlined
def be64(buf: Bytes, at: Int) -> U64:
    """Big-endian 64 bits as uint64."""
    high, low = np.uint64(be32(buf, at)), np.uint64(be32(buf, at + 4))
    return (high << np.uint64(32)) | low


@inlined
def u32(buf: Bytes, at: Int, big: bool) -> Int:
    """32 bits in the byte order of the file, as int64."""
    return be32(buf, at) if big else le32(buf, at)


@inlined
def u16(buf: Bytes, at: Int, big: bool) -> Int:
    """16 bits in the byte order of the file, as int64."""
    return be16(buf, at) if big else le16(buf, at)
