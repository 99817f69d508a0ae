"""Control chart on every edge: exponentially weighted moving average and variance (Roberts 1959)."""

from __future__ import annotations

from typing import Self

import numpy as np

from mimir.detectors.base import Reason, Scores
from mimir.detectors.columns import columns_of, total_bytes
from mimir.detectors.levels import Array, Levelled, Levels, floored, largest, level_reasons
from mimir.detectors.parameters import once_a_series
from mimir.errors import MimirError
from mimir.flows.edges import EdgeSeries, Window


class Ewma(Levelled):
    """Score = max over edges of z = (x − m) / √v, then m ← (1 − λ) m + λ x̃ and v ← (1 − λ) v + λ (x̃ − m)².

    x are the IP bytes of an edge in a window, λ the `weight`; x̃ is x clipped to m ± `clip` √v (winsorised), so that a leak
    cannot teach the chart itself in a few windows. √v has a floor (100 B and 1 % of m). Training starts from mean and variance
    of the whole recording and runs the recursion over it; scoring goes on from where training ended. An edge unknown in
    training starts at m = 0 with the median √v of the others.

    Source: Roberts, Technometrics 1959 (the average); MacGregor & Harris, J. Quality Technology 1993 (the moving variance)
    Family: classical, control chart
    Supervised: no
    Needs: bytes
    Complexity: O(T E) to fit and to score, one window after the other
    Limits: each edge alone; a rise with the load is an anomaly too, and a slow ramp is followed
    """

    name = "ewma"
    parameters = ("weight", "clip")

    def __init__(self, weight: float = 0.05, clip: float = 3.0) -> None:
        self.weight, self.clip = weight, clip
        self._levels: Levels | None = None

    def fit(self, benign: EdgeSeries) -> Self:
        """Learn m and v; MimirError for a weight outside (0, 1), a clip ≤ 0 or no window at all."""
        if not 0 < self.weight < 1 or self.clip <= 0:
            raise MimirError(
                f"detector.weight must lie in (0, 1) and detector.clip above 0 (got {self.weight} and {self.clip}); "
                "see conf/detector/ewma.yaml"
            )
        if not len(benign):
            raise MimirError("ewma needs at least 1 benign window to fit (got 0); raise evaluation.fit_s")
        start = Levels.of(benign)
        _, _, mean, scale = self._run(start, benign)
        self._levels = Levels(start.keys, mean, scale)
        return self

    @once_a_series
    def _run(self, levels: Levels, series: EdgeSeries) -> tuple[Array, Array, Array, Array]:
        """(T, C) z and m before each window, and m and √v (C,) after the last."""
        columns = columns_of(series)
        x = columns.fold(total_bytes(series))
        mean, scale = levels.on(columns)
        z, before = np.zeros_like(x), np.zeros_like(x)
        for t, row in enumerate(x):
            before[t], z[t] = mean, (row - mean) / scale
            step = np.clip(row - mean, -self.clip * scale, self.clip * scale)
            variance = (1 - self.weight) * scale**2 + self.weight * step**2
            mean = mean + self.weight * step
            scale = floored(np.sqrt(variance), mean)
        return z, before, mean, scale

    def score(self, windows: EdgeSeries) -> Scores:
        """Largest z, at least 0; each edge contributes its own z > 0."""
        self.require(self._levels is not None)
        assert self._levels is not None
        z = self._run(self._levels, windows)[0]
        parts = columns_of(windows).spread(np.maximum(z, 0.0), total_bytes(windows))
        return Scores(windows.window_s, windows.window_start, largest(z), windows.edges, parts)

    def explain(self, window: Window) -> list[Reason]:
        """The edges furthest above their average."""
        self.require(self._levels is not None)
        assert self._levels is not None
        z, before = (values[window.index] for values in self._run(self._levels, window.series)[:2])
        keys = columns_of(window.series).keys
        return level_reasons(self.name, window, keys, z, before, lambda i: f"{z[i]:.1f} σ above its moving average")
