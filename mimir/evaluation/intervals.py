"""Confidence intervals: exact ones for counts, block bootstrap for everything that depends on neighbouring windows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Interval = tuple[float | None, float | None]
UNKNOWN: Interval = (None, None)


def generator(seed: int | Sequence[int], *key: int) -> np.random.Generator:
    """A stream of its own per purpose (`key`), so that adding a window length changes no other number."""
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=key))


def proportion(hits: int, trials: int, confidence: float) -> tuple[float, float]:
    """Exact interval of a binomial proportion (Clopper & Pearson 1934); trials ≥ 1."""
    from scipy.special import betaincinv

    tail = (1 - confidence) / 2
    low = 0.0 if hits == 0 else float(betaincinv(hits, trials - hits + 1, tail))
    high = 1.0 if hits == trials else float(betaincinv(hits + 1, trials - hits, 1 - tail))
    return low, high


def poisson(count: int, exposure: float, confidence: float) -> tuple[float, float]:
    """Exact interval of a rate, events per unit of `exposure` > 0 (Garwood 1936).

    >>> low, high = poisson(0, 2.0, 0.95)
    >>> low, round(high, 3)
    (0.0, 1.844)
    """
    from scipy.special import gammaincinv

    tail = (1 - confidence) / 2
    low = 0.0 if count == 0 else float(gammaincinv(count, tail))
    return low / exposure, float(gammaincinv(count + 1, 1 - tail)) / exposure


@dataclass(frozen=True)
class Blocks:
    """Resamples of blocks of consecutive windows (Künsch 1989, non-overlapping blocks).

    Blocks that hold a leak and blocks that hold none are drawn separately, so that every resample has the prevalence
    that was designed into the test.
    """

    index: NDArray[np.int64]  # (n,) block of each window
    draws: NDArray[np.float64]  # (R, B) how often each resample holds each block
    leaking: int  #: blocks that hold a leak
    quiet: int  #: blocks that hold none

    @staticmethod
    def of(
        start: NDArray[np.int64],
        positive: NDArray[np.bool_],
        block_s: int,
        resamples: int,
        rng: np.random.Generator,
    ) -> Blocks:
        """Draw `resamples` resamples of the blocks of `block_s` seconds that windows starting at `start` fall into."""
        _, index = np.unique(start // block_s, return_inverse=True)
        count = int(index.max()) + 1 if len(index) else 0
        leaking = np.bincount(index, weights=positive, minlength=count) > 0
        draws = np.zeros((resamples, count))
        for stratum in (np.flatnonzero(leaking), np.flatnonzero(~leaking)):
            size = len(stratum)
            if size:
                draws[:, stratum] = rng.multinomial(size, np.full(size, 1 / size), size=resamples)
        return Blocks(index, draws, int(leaking.sum()), int((~leaking).sum()))

    def sums(self, *counts: NDArray[np.bool_]) -> list[NDArray[np.float64]]:
        """How many windows of each kind each resample holds; one (R,) array per boolean (n,) array."""
        blocks = self.draws.shape[1]
        return [self.draws @ np.bincount(self.index, weights=c, minlength=blocks) for c in counts]

    def chunks(self, most_cells: int = 2_000_000) -> Sequence[slice]:
        """Slices of resamples small enough that (rows × windows) stays below `most_cells`."""
        rows = max(1, most_cells // max(1, len(self.index)))
        return [slice(i, i + rows) for i in range(0, len(self.draws), rows)]


def percentiles(samples: NDArray[np.float64], confidence: float) -> Interval:
    """Percentile interval (Efron 1979) of resampled values; unknown when fewer than half of them are defined."""
    defined = samples[np.isfinite(samples)]
    if len(defined) * 2 < len(samples) or not len(defined):
        return UNKNOWN
    low, high = np.quantile(defined, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)


def envelope(first: Interval, second: Interval) -> Interval:
    """The smallest interval that holds both; an unknown one is left out."""
    lows = [i[0] for i in (first, second) if i[0] is not None]
    highs = [i[1] for i in (first, second) if i[1] is not None]
    return (min(lows), max(highs)) if lows and highs else UNKNOWN
