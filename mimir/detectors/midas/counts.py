"""Counts of MIDAS and its two statistics (Bhatia et al., AAAI 2020 and TKDD 2022)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]


class Tally(NamedTuple):
    """a: in the current tick (decayed), s: in all ticks so far, score: of the last arrival; one value a cell."""

    a: Vector
    s: Vector
    score: Vector


def chi_squared(a: Vector, s: Vector, t: int) -> Vector:
    """(a − s/t)² t² / (s (t − 1)): definition 1 of the paper; s holds a already. 0 in the first tick and where s is 0.

    >>> chi_squared(np.array([9.0]), np.array([12.0]), 4).tolist()  # (9 − 3)² · 16 / (12 · 3)
    [16.0]
    """
    if t < 2:
        return np.zeros_like(a)
    return np.where(s > 0, (a - s / t) ** 2 * t**2 / (np.where(s > 0, s, 1.0) * (t - 1)), 0.0)


def filtered(a: Vector, s: Vector, t: int) -> Vector:
    """(a + s − a t)² / (s (t − 1)): the same with a not yet merged into s (TKDD 2022)."""
    if t < 2:
        return np.zeros_like(a)
    return np.where(s > 0, (a + s - a * t) ** 2 / (np.where(s > 0, s, 1.0) * (t - 1)), 0.0)


def tick(old: Tally, arrived: Vector, t: int, decay: float, limit: float | None) -> Tally:
    """Counts and statistics after tick t; with a limit, scores of tick t - 1 decide what is merged into s (algorithm 3)."""
    a = decay * old.a + arrived
    if limit is None:
        s = old.s + arrived
        return Tally(a, s, chi_squared(a, s, t))
    mean = old.s / (t - 2) if t > 2 else np.zeros_like(old.s)
    s = old.s + np.where(old.score < limit, old.a, mean)  # conditional merge: a mean in place of an abnormal count
    return Tally(a, s, np.where((s == 0) & (t > 1), a * (t - 1), filtered(a, s, t)))


def numbers(names: list[str]) -> NDArray[np.int64]:
    """Number of each name, in order of first appearance: those of more edges begin with those of fewer."""
    seen: dict[str, int] = {}
    return np.array([seen.setdefault(name, len(seen)) for name in names], dtype=np.int64)


def grown(tally: Tally, size: int) -> Tally:
    """The same tally with cells that nothing was counted in yet."""
    return Tally(*(np.concatenate([v, np.zeros(size - len(v))]) for v in tally))
