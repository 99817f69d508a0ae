"""Streaming upper bounds on the information of a sequence of bytes, and of a set of names in constant memory."""

from __future__ import annotations

import hashlib
import math
import zlib
from collections import defaultdict

import numpy as np
from numpy.typing import NDArray

HALF = 0.5  #: Krichevsky–Trofimov: every symbol has been seen half a time before
SYMBOLS = 256


class AdaptiveCode:
    """Bits of an ideal arithmetic code that learns as it goes; `order` symbols before one are its context.

    Code length −log2 ((n_s + ½) / (n + 128)) a symbol (Krichevsky & Trofimov 1981): decodable, hence an upper bound.
    """

    def __init__(self, order: int) -> None:
        self.order, self.bits, self._before = order, 0.0, b""
        self._counts: defaultdict[bytes, defaultdict[int, int]] = defaultdict(lambda: defaultdict(int))
        self._totals: defaultdict[bytes, int] = defaultdict(int)

    def add(self, data: bytes) -> None:
        """Code more bytes."""
        for symbol in data:
            context = self._before
            counts = self._counts[context]
            self.bits -= math.log2((counts[symbol] + HALF) / (self._totals[context] + HALF * SYMBOLS))
            counts[symbol] += 1
            self._totals[context] += 1
            self._before = (self._before + bytes([symbol]))[-self.order :] if self.order else b""


class Information:
    """The smallest of several compressors over one growing sequence: DEFLATE, and adaptive codes of order 0 and 1."""

    def __init__(self) -> None:
        self._deflate = zlib.compressobj(9, zlib.DEFLATED, -15)
        self._written = 0
        self._codes = (AdaptiveCode(0), AdaptiveCode(1))
        self._empty = True

    def add(self, data: bytes) -> None:
        """More of the sequence."""
        self._empty = self._empty and not data
        self._written += len(self._deflate.compress(data))
        for code in self._codes:
            code.add(data)

    def size(self) -> float:
        """Bytes, 0 for an empty sequence."""
        if self._empty:
            return 0.0
        deflated = self._written + len(self._deflate.copy().flush())
        return min(float(deflated), *(code.bits / 8 for code in self._codes))


class HyperLogLog:
    """Distinct names in 2^p registers (Flajolet et al. 2007), with linear counting for few; error about 1.04/√2^p."""

    def __init__(self, p: int = 10) -> None:
        self.p = p
        self._registers: NDArray[np.uint8] = np.zeros(1 << p, dtype=np.uint8)

    def add(self, name: bytes) -> None:
        """Count a name."""
        value = int.from_bytes(hashlib.blake2b(name, digest_size=8).digest())
        place, rest = value >> (64 - self.p), value & ((1 << (64 - self.p)) - 1)
        rank = (64 - self.p) - rest.bit_length() + 1
        self._registers[place] = max(int(self._registers[place]), rank)

    def count(self) -> float:
        """Estimated number of distinct names.

        >>> counter = HyperLogLog()
        >>> for number in range(5000): counter.add(str(number % 3000).encode())
        >>> abs(counter.count() - 3000) < 200
        True
        """
        m = len(self._registers)
        raw = 0.7213 / (1 + 1.079 / m) * m * m / float((2.0 ** -self._registers.astype(float)).sum())
        empty = int((self._registers == 0).sum())
        return m * math.log(m / empty) if raw <= 2.5 * m and empty else raw
