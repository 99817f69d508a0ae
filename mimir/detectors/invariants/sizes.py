"""How much leaves over a path: bytes and messages estimated together in every window, by generalised least squares.

A single window is at the mercy of legitimate bursts (a list of all customers passes the same edges as a leak), a span of
windows says nothing about the one that is asked about. So the median over the span, less its benign median, is the usual
amount; the window's own estimate moves it as far as its benign noise allows (the posterior mean of a normal amount seen in
normal noise), and is left out where it lies further from the usual amount than a leak varies: that is a burst. The interval
is that of the posterior, wider by messages under way at the ends of the window and by heads of messages; for a window that
stands alone, benign quantiles of training. All follow the level of the path's first hop.
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

QUANTILES = (0.025, 0.25, 0.5, 0.75, 0.975)
QUARTILES = 1.349  #: standard deviations between the quartiles of a normal distribution
VARIES = (
    0.5  #: a leak varies from window to window by about this share of its usual amount, more where the span shows it
)
BURST = 2.0  #: times that: what lies further away is a burst
UNDER_WAY = 0.41  #: standard deviation, in messages, of what the two ends of a window cut off (√(2/12), both uniform)
Z95 = 1.96
FRAMING = 0.05  #: of what is seen may be heads of messages, not stolen bytes: the lower end allows for it
SHORT = 4.0  #: stretches of training below which the interval is widened


class Size(NamedTuple):
    """Bytes a window, and the ends of a 95 % interval; none below 0."""

    estimate: float
    low: float
    high: float


class Sizes:
    """Benign quantiles (paths, K, 5) of the median over K windows, and (paths,) the level they were learned at."""

    def __init__(self, lengths: Sequence[int]):
        self.lengths = tuple(lengths)
        self.quantiles, self.level = np.zeros((0, len(self.lengths), len(QUANTILES))), np.zeros(0)

    def fit(
        self,
        invariants: Sequence[Invariant],
        residuals: Residuals,
        paths: Sequence[Sequence[Hop]],
        dns: Sequence[bool],
        corr: Array,
    ) -> None:
        """Learn from residuals of training on every path."""
        self.quantiles, self.level = np.zeros((len(paths), len(self.lengths), len(QUANTILES))), np.ones(len(paths))
        for n, hops in enumerate(paths):
            per_window = window_sizes(invariants, residuals, hops, dns, corr)[:, 0]
            self.level[n] = max(float(residuals.expected[:, _first(invariants, hops, dns)].mean()), 1.0)
            for k, length in enumerate(self.lengths):
                medians = running_median(per_window, length)
                found = np.quantile(medians, QUANTILES)
                middle, widen = found[QUANTILES.index(0.5)], 1 + SHORT * length / max(len(per_window), 1)
                self.quantiles[n, k] = middle + (found - middle) * widen

    def of(
        self,
        number: int,
        invariants: Sequence[Invariant],
        residuals: Residuals,
        hops: Sequence[Hop],
        dns: Sequence[bool],
        corr: Array,
    ) -> Size:
        """Size of the leak over path `number` in the last of these windows, which it is believed to last."""
        amounts = window_sizes(invariants, residuals, hops, dns, corr)
        k = max(int(np.searchsorted(self.lengths, len(amounts), side="right")) - 1, 0)
        ratio = max(float(residuals.expected[:, _first(invariants, hops, dns)].mean()), 0.0) / float(self.level[number])
        root = float(np.sqrt(max(ratio, 0.25)))
        one, many = self.quantiles[number, 0], self.quantiles[number, k]
        usual = float(np.median(amounts[:, 0])) - float(many[2]) * ratio
        if len(amounts) == 1 or usual <= 0:
            ends = (usual - (many[4] - many[2]) * root) * (1 - FRAMING), usual + (many[2] - many[0]) * root
            cut = Z95 * UNDER_WAY * _message(amounts, usual)
            return Size(max(usual, 0.0), max(float(ends[0]) - cut, 0.0), max(float(ends[1]) + cut, 0.0))
        cut = UNDER_WAY * _message(amounts, usual)
        noise = float(np.hypot((one[3] - one[1]) / QUARTILES * root, cut))
        left = amounts[:, 0] - float(one[2]) * ratio - usual
        seen = 1.4826 * float(np.median(np.abs(left)))
        varies = max(VARIES * usual, seen)
        if abs(left[-1]) > BURST * varies + Z95 * noise:
            return Size(usual, max((usual - BURST * varies) * (1 - FRAMING), 0.0), usual + BURST * varies)
        weight = varies**2 / (varies**2 + noise**2)
        size, error = usual + weight * float(left[-1]), Z95 * float(np.sqrt(weight)) * noise
        return Size(max(size, 0.0), max(size * (1 - FRAMING) - error, 0.0), max(size + error, 0.0))


def _message(amounts: Array, usual: float) -> float:
    """Bytes a message of the leak seems to hold, at most all of them; from (T, 2) amounts of bytes and messages."""
    return max(usual, 0.0) / max(float(np.median(amounts[:, 1])), 1.0)


def window_sizes(
    invariants: Sequence[Invariant], residuals: Residuals, hops: Sequence[Hop], dns: Sequence[bool], corr: Array
) -> Array:
    """(T, 2) generalised least squares estimates of leaked bytes and of the messages that carried them.

    What the ends of windows cut off belongs to the interval (UNDER_WAY), not to the weights of these.
    """
    residuals = residuals.uncut()
    position = {i.target: n for n, i in enumerate(invariants)}
    members = list(chains.members_of(hops, position, dns))
    h = np.stack(chains.signature(invariants, members, hops)) / residuals.sigma[:, None, members]  # (T, 2, members)
    weighted = h @ np.linalg.inv(corr[np.ix_(members, members)])
    gram = np.einsum("tam,tbm->tab", weighted, h)
    side = np.einsum("tam,tm->ta", weighted, residuals.standard[:, members])
    gram *= 1 + 1e-9 * np.eye(2)  # bytes and messages have very different scales
    gram += 1e-300 * np.eye(2)
    return np.asarray(np.linalg.solve(gram, side[:, :, None])[:, :, 0])


def running_median(values: Array, length: int) -> Array:
    """Medians of all stretches of `length` values (of all values where there are fewer)."""
    if len(values) < length:
        return np.array([np.median(values)])
    return np.asarray(np.median(np.lib.stride_tricks.sliding_window_view(values, length), axis=1))


def _first(invariants: Sequence[Invariant], hops: Sequence[Hop], dns: Sequence[bool]) -> int:
    position = {i.target: n for n, i in enumerate(invariants)}
    return chains.members_of(hops[:1], position, dns)[0]
