"""One alert stream over all window lengths: p-values of each, combined on the grid of the longest and calibrated again.

A grid window holds several shorter ones; the smallest of their p-values counts, times their number (Bonferroni). Window
lengths share the budget equally. The threshold comes from the same calibration windows, so that the realised rate is that
of the stream, whatever the dependence between lengths.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mimir.detectors.base import Scores
from mimir.detectors.calibration import Calibration, Threshold
from mimir.detectors.combination import Combination, How
from mimir.errors import MimirError

Array = NDArray[np.float64]


@dataclass(frozen=True)
class OnGrid:
    """Scores of every window length on the windows that all of them cover. `strongest` is the start of the window behind it."""

    window_s: int
    window_start: NDArray[np.int64]  # (T,)
    score: Mapping[int, Array]  # window length → (T,)
    strongest: Mapping[int, NDArray[np.int64]]  # window length → (T,)


def on_grid(scores: Mapping[int, Scores]) -> OnGrid:
    """The largest score of each length within every window of the longest. MimirError where one does not divide it."""
    grid = max(scores)
    odd = [w for w in scores if grid % w]
    if odd:
        raise MimirError(
            f"windows of {odd[0]} s do not fit into those of {grid} s, so there is no common stream of alerts; "
            "choose lengths that divide the longest (detector.windows_s)"
        )
    first = max(-(-int(s.window_start[0]) // grid) * grid for s in scores.values())
    last = min((int(s.window_start[-1]) + s.window_s) // grid * grid for s in scores.values())
    start = np.arange(first, last, grid, dtype=np.int64)
    best, where = {}, {}
    for window_s, one in scores.items():
        begin = int((first - one.window_start[0]) // window_s)
        count = grid // window_s
        block = one.score[begin : begin + len(start) * count].reshape(len(start), count)
        chosen = block.argmax(axis=1)
        best[window_s] = block[np.arange(len(start)), chosen]
        where[window_s] = start + chosen * window_s
    return OnGrid(grid, start, best, where)


class Stream:
    """Combined score = −log₁₀ p over window lengths; `calibrate` before `score`."""

    def __init__(self, how: How = "bonferroni"):
        self.how: How = how
        self._combination = Combination({"": 1.0})
        self._calibration: Calibration | None = None

    def calibrate(self, benign: OnGrid) -> Array:
        """(T,) combined benign scores, each hour judged by the others; sets the threshold's distribution."""
        parts = {str(w): s for w, s in benign.score.items()}
        self._combination = Combination(dict.fromkeys(parts, 1.0), self.how)
        scores = self._combination.benign_scores(parts, benign.window_s)
        self._combination.calibrate(parts, benign.window_s)
        self._calibration = Calibration(scores, benign.window_s)
        return scores

    @property
    def calibration(self) -> Calibration:
        """Benign distribution of the combined score."""
        if self._calibration is None:
            raise MimirError("the stream of alerts is not calibrated; call calibrate(benign) first")
        return self._calibration

    def score(self, windows: OnGrid) -> tuple[Array, NDArray[np.int64]]:
        """(T,) combined score, and (T,) the window length that says most."""
        parts = {str(w): s for w, s in windows.score.items()}
        lengths = np.array(list(windows.score))
        single = np.stack([self._combination.part(name, scores) for name, scores in parts.items()])
        return self._combination.score(parts), lengths[single.argmax(axis=0)]

    def threshold(self, alerts_per_day: float) -> Threshold:
        """Alarm level of the stream."""
        return self.calibration.threshold(alerts_per_day)
