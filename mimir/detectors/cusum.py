"""Small excesses added up on every edge: moving sums of several lengths, or Page's cumulative sum."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

import numpy as np
from numpy.typing import NDArray

from mimir.detectors.base import Reason, Scores
from mimir.detectors.columns import columns_of, total_bytes
from mimir.detectors.levels import Array, Levelled, Levels, largest, level_reasons
from mimir.detectors.parameters import once_a_series
from mimir.errors import MimirError
from mimir.flows.edges import EdgeSeries, Window


class Cusum(Levelled):
    """Score = max over edges and K ∈ `memory` of Σ_{last K windows} z / √K (`form=mosum`), z = (bytes − mean) / σ of training.

    `form=cusum` is Page's recursion S ← max(0, S + z − `slack`) instead. It is the optimal one for a change that stays, and
    never recovers after an attack that ended; that is why moving sums are the default. Before the first window z counts
    as 0. σ has a floor (100 B and 1 % of the mean); an edge unknown in training has mean 0 and the median σ.

    Source: Page, Biometrika 1954 (one-sided sum); Chu, Hornik & Kuan, Biometrika 1995 (moving sums)
    Family: classical, control chart
    Supervised: no
    Needs: bytes
    Complexity: O(T E) to fit, O(T E K) to score, K lengths of memory
    Limits: each edge alone against its mean; long sums collect the load's own swing, and the calibration recording must show it
    """

    name = "cusum"
    parameters = ("form", "memory", "slack")

    def __init__(self, form: str = "mosum", memory: Sequence[int] = (1, 5, 15, 60), slack: float = 0.5) -> None:
        self.form, self.memory, self.slack = form, list(memory), slack
        self._levels: Levels | None = None

    def fit(self, benign: EdgeSeries) -> Self:
        """Learn mean and σ of every edge; MimirError for parameters out of range or fewer than 2 windows."""
        if self.form not in ("mosum", "cusum") or not self.memory or min(self.memory) < 1 or self.slack < 0:
            raise MimirError(
                f"detector.form must be mosum or cusum, memory name lengths ≥ 1 and slack be ≥ 0 (got {self.form!r}, "
                f"{self.memory}, {self.slack}); see conf/detector/cusum.yaml"
            )
        if len(benign) < 2:
            raise MimirError(
                f"cusum needs at least 2 benign windows to fit (got {len(benign)}); raise evaluation.fit_s"
            )
        self._levels = Levels.of(benign)
        return self

    @once_a_series
    def _sums(self, windows: EdgeSeries) -> tuple[Array, NDArray[np.int64], Array]:
        """(T, C) the largest sum of each column, (T, C) its length in windows (0: since the sum was last 0), and (C,) mean."""
        self.require(self._levels is not None)
        assert self._levels is not None
        columns = columns_of(windows)
        mean, scale = self._levels.on(columns)
        z = (columns.fold(total_bytes(windows)) - mean) / scale
        if self.form == "cusum":
            return page(z, self.slack), np.zeros(z.shape, np.int64), mean
        sums = np.stack([moving_sum(z, length) for length in self.memory])
        best = sums.argmax(axis=0)
        return np.take_along_axis(sums, best[None], axis=0)[0], np.array(self.memory)[best], mean

    def score(self, windows: EdgeSeries) -> Scores:
        """Largest sum, at least 0; each edge contributes its own."""
        sums = self._sums(windows)[0]
        parts = columns_of(windows).spread(np.maximum(sums, 0.0), total_bytes(windows))
        return Scores(windows.window_s, windows.window_start, largest(sums), windows.edges, parts)

    def explain(self, window: Window) -> list[Reason]:
        """The edges with the largest sums."""
        sums, length, mean = self._sums(window.series)
        row, long = sums[window.index], length[window.index]

        def words(i: int) -> str:
            if self.form == "cusum":
                return f"its cumulative sum stands at {row[i]:.1f} σ"
            return f"{row[i]:.1f} σ over the last {long[i]} windows together"

        return level_reasons(self.name, window, columns_of(window.series).keys, row, mean, words)


def moving_sum(z: Array, length: int) -> Array:
    """(T, C) sums of the last `length` rows, over √length; rows before the first are 0.

    >>> moving_sum(np.array([[1.0], [2.0], [3.0]]), 2).ravel().round(3).tolist()
    [0.707, 2.121, 3.536]
    """
    out = np.cumsum(z, axis=0)
    out[length:] -= out[:-length].copy()
    return np.asarray(out / np.sqrt(length))


def page(z: Array, slack: float) -> Array:
    """(T, C) Page's one-sided sums.

    >>> page(np.array([[1.0], [-3.0], [2.0], [2.0]]), 0.5).ravel().tolist()
    [0.5, 0.0, 1.5, 3.0]
    """
    out, total = np.zeros_like(z), np.zeros(z.shape[1])
    for t, row in enumerate(z):
        total = np.maximum(0.0, total + row - slack)
        out[t] = total
    return out
