"""How much leaves over a path: bytes and messages estimated together in every window, and the median over windows.

The generalised least squares estimate of one window is at the mercy of legitimate bursts (a list of all customers passes
the same edges as a leak). The median over K windows is not, and what it gives on benign windows of training is known:
its quantiles make the correction and the 95 % interval, which also allows for heads of messages. They follow the level of
the path's first hop.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mimir.detectors.invariants import chains
from mimir.detectors.invariants.targets import Invariant, Residuals
from mimir.detectors.leakpaths import Hop

Array = NDArray[np.float64]

QUANTILES = (0.025, 0.5, 0.975)
FRAMING = 0.05  #: of what is seen may be heads of messages, not stolen bytes: the lower end allows for it
SHORT = 4.0  #: stretches of training below which the interval is widened


class Size(NamedTuple):
    """Bytes a window, and the ends of a 95 % interval; none below 0."""

    estimate: float
    low: float
    high: float


class Sizes:
    """Benign quantiles (paths, K, 3) of the median over K windows, and (paths,) the level they were learned at."""

    def __init__(self, lengths: Sequence[int]):
        self.lengths = tuple(lengths)
        self.quantiles, self.level = np.zeros((0, len(self.lengths), 3)), np.zeros(0)

    def fit(
        self,
        invariants: Sequence[Invariant],
        residuals: Residuals,
        paths: Sequence[Sequence[Hop]],
        dns: Sequence[bool],
        corr: Array,
    ) -> None:
        """Learn from residuals of training on every path."""
        self.quantiles, self.level = np.zeros((len(paths), len(self.lengths), 3)), np.ones(len(paths))
        for n, hops in enumerate(paths):
            per_window = window_sizes(invariants, residuals, hops, dns, corr)
            self.level[n] = max(float(residuals.expected[:, _first(invariants, hops, dns)].mean()), 1.0)
            for k, length in enumerate(self.lengths):
                medians = running_median(per_window, length)
                low, middle, high = np.quantile(medians, QUANTILES)
                widen = 1 + SHORT * length / max(len(per_window), 1)
                self.quantiles[n, k] = middle + (low - middle) * widen, middle, middle + (high - middle) * widen

    def of(
        self,
        number: int,
        invariants: Sequence[Invariant],
        residuals: Residuals,
        hops: Sequence[Hop],
        dns: Sequence[bool],
        corr: Array,
    ) -> Size:
        """Size of the leak over path `number`, from residuals of the windows it is believed to last."""
        found = float(np.median(window_sizes(invariants, residuals, hops, dns, corr)))
        k = int(np.searchsorted(self.lengths, len(residuals.observed), side="right")) - 1
        ratio = max(float(residuals.expected[:, _first(invariants, hops, dns)].mean()), 0.0) / float(self.level[number])
        low, middle, high = self.quantiles[number, max(k, 0)]
        centre, root = middle * ratio, np.sqrt(max(ratio, 0.25))
        ends = (found - centre - (high - middle) * root, found - centre + (middle - low) * root)
        return Size(max(found - centre, 0.0), max(ends[0] * (1 - FRAMING), 0.0), max(ends[1], 0.0))


def window_sizes(
    invariants: Sequence[Invariant], residuals: Residuals, hops: Sequence[Hop], dns: Sequence[bool], corr: Array
) -> Array:
    """(T,) generalised least squares estimates of leaked bytes, the number of messages estimated beside them."""
    position = {i.target: n for n, i in enumerate(invariants)}
    members = list(chains.members_of(hops, position, dns))
    h = np.stack(chains.signature(invariants, members, hops)) / residuals.sigma[:, None, members]  # (T, 2, members)
    weighted = h @ np.linalg.inv(corr[np.ix_(members, members)])
    gram = np.einsum("tam,tbm->tab", weighted, h)
    side = np.einsum("tam,tm->ta", weighted, residuals.standard[:, members])
    gram *= 1 + 1e-9 * np.eye(2)  # bytes and messages have very different scales
    gram += 1e-300 * np.eye(2)
    return np.asarray(np.linalg.solve(gram, side[:, :, None])[:, 0, 0])


def running_median(values: Array, length: int) -> Array:
    """Medians of all stretches of `length` values (of all values where there are fewer)."""
    if len(values) < length:
        return np.array([np.median(values)])
    return np.asarray(np.median(np.lib.stride_tricks.sliding_window_view(values, length), axis=1))


def _first(invariants: Sequence[Invariant], hops: Sequence[Hop], dns: Sequence[bool]) -> int:
    position = {i.target: n for n, i in enumerate(invariants)}
    return chains.members_of(hops[:1], position, dns)[0]
