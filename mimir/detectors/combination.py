"""Several scores that share one alert budget: calibrated p-values, combined by weighted Bonferroni or harmonic mean.

Each part (a family of invariants, a window length) gets a conformal p-value of its own from benign scores, continued by a
generalised Pareto tail where the recording is too short (`mimir.detectors.calibration`), so that a part whose claims run
too high cannot use up the budget of the others. Bonferroni: min pᵢ/wᵢ; harmonic mean: 1 / Σ wᵢ/pᵢ (Wilson 2019).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from mimir.detectors.base import Calibrated, Detector, Scores
from mimir.detectors.calibration import Calibration
from mimir.flows.edges import EdgeSeries
from mimir.units import HOUR_S

Array = NDArray[np.float64]
How = Literal["bonferroni", "harmonic"]

LOG10_E = float(np.log10(np.e))
FOLDS = 4  #: blocks of hours; benign scores are judged by the other blocks


def calibration_scores(detector: Detector, benign: EdgeSeries) -> Scores:
    """Scores of the calibration recording; a detector of several parts learns their distributions from it first."""
    return detector.calibrate(benign) if isinstance(detector, Calibrated) else detector.score(benign)


class PartCalibration:
    """Score of one part → −log₁₀ p among its benign scores; beyond the largest of them the tail goes on.

    A part that was never positive on benign windows has no spread to learn: its own scale, −log₁₀ of what it claims,
    is kept.
    """

    def __init__(self, benign: Array, window_s: int):
        self.benign, self.window_s = np.asarray(benign, dtype=np.float64), window_s
        self._silent = not (self.benign > 0).any()
        if not self._silent:
            made = Calibration(self.benign, window_s)
            self._sorted, self._tail = np.sort(self.benign), made.tail

    def surprise(self, scores: Array) -> Array:
        """(T,) −log₁₀ p, ≥ 0, rising with the score."""
        if self._silent:
            return np.maximum(scores, 0.0)
        count, largest = len(self._sorted), float(self._sorted[-1])
        above = count - np.searchsorted(self._sorted, scores, side="left")
        conformal = np.log10((count + 1) / (1 + above))
        # decades of p per unit of score: exponential, so that very large scores stay apart
        slope = LOG10_E / self._tail.scale if self._tail is not None and self._tail.scale > 0 else 1.0
        return np.asarray(conformal + np.maximum(scores - largest, 0.0) * min(slope, 1.0))


class Combination:
    """Parts by name, each with a weight (its share of the budget); `None` calibrations leave scores as they are."""

    def __init__(self, weights: Mapping[str, float], how: How = "bonferroni"):
        total = sum(weights.values())
        self.weights, self.how = {name: w / total for name, w in weights.items()}, how
        self._parts: dict[str, PartCalibration] = {}

    @property
    def calibrated(self) -> bool:
        """True once benign scores were seen."""
        return bool(self._parts)

    def calibrate(self, benign: Mapping[str, Array], window_s: int) -> Self:
        """Learn from the (T,) benign scores of every part, in time order."""
        self._parts = {name: PartCalibration(benign[name], window_s) for name in self.weights}
        return self

    def benign_scores(self, benign: Mapping[str, Array], window_s: int) -> Array:
        """(T,) combined scores of the calibration windows themselves, each hour judged by the other blocks of hours."""
        windows = len(next(iter(benign.values())))
        out = np.zeros(windows)
        for mine in _blocks(windows, max(1, HOUR_S // window_s)):
            others = {name: scores[~mine] if (~mine).any() else scores for name, scores in benign.items()}
            judge = Combination(self.weights, self.how).calibrate(others, window_s)
            out[mine] = judge.score({name: scores[mine] for name, scores in benign.items()})
        return out

    def score(self, scores: Mapping[str, Array]) -> Array:
        """(T,) −log₁₀ of the combined p-value, ≥ 0."""
        stacked = np.stack([self.part(name, scores[name]) + np.log10(w) for name, w in self.weights.items()])
        if self.how == "bonferroni":
            return np.asarray(np.maximum(stacked.max(axis=0), 0.0))
        largest = stacked.max(axis=0)
        return np.asarray(np.maximum(largest + np.log10((10.0 ** (stacked - largest)).sum(axis=0)), 0.0))

    def part(self, name: str, scores: Array) -> Array:
        """(T,) surprise of one part, its weight not counted."""
        return self._parts[name].surprise(scores) if name in self._parts else np.asarray(scores)

    def state(self) -> dict[str, Any]:
        """Weights are parameters; what is learned are the benign scores."""
        return {name: {"benign": part.benign, "window_s": part.window_s} for name, part in self._parts.items()}

    def load_state(self, state: Mapping[str, Any]) -> Self:
        """The reverse of `state`."""
        self._parts = {n: PartCalibration(np.asarray(p["benign"]), int(p["window_s"])) for n, p in state.items()}
        return self


def _blocks(windows: int, per_hour: int) -> Iterator[NDArray[np.bool_]]:
    """Masks of FOLDS sets of whole hours (of quarters of the recording where it is too short for that)."""
    size = per_hour if windows >= FOLDS * per_hour else max(1, -(-windows // FOLDS))
    fold = (np.arange(windows) // size) % FOLDS
    for number in range(FOLDS):
        if (fold == number).any():
            yield fold == number
