"""From scores to an alarm level: conformal p-values, and a Pareto tail where the calibration recording is too short.

p(t) = (1 + #{calibration scores ≥ s(t)}) / (n + 1) (Vovk, Gammerman & Shafer 2005) cannot fall below 1/(n + 1); for rarer levels a generalised Pareto distribution is fitted to the upper scores (peaks over threshold; Pickands 1975,
Davison & Smith 1990) and the level is called extrapolated.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mimir.errors import MimirError
from mimir.units import DAY_S

TAIL_SHARE = 0.10  #: share of the calibration scores that forms the tail …
TAIL_SCORES, TAIL_SHARE_MAX = 20, 0.25  #: … more of them in a short recording, up to a quarter
MIN_PEAKS = 4  #: separate peaks below which no tail is fitted
SHAPE_LOW, SHAPE_HIGH = -0.2, 0.5  #: range of the shape ξ; outside it a short sample is not to be trusted
SHAPE_PRIOR = 20.0  #: peaks' worth of belief in ξ = 0 (exponential tail)
SCALE_PRIOR = 5.0  #: peaks' worth of belief in the scale


@dataclass(frozen=True)
class Threshold:
    """Alert when score > `value`. `level` is the wanted probability of an alert per benign window."""

    value: float
    level: float
    method: Literal["conformal", "tail"]
    extrapolated: bool  #: the level is rarer than the calibration recording can show
    calibration_windows: int
    note: str


@dataclass(frozen=True)
class Tail:
    """P(score > x) = rate · (1 + ξ (x − start) / scale)^(−1/ξ) for x ≥ start."""

    start: float
    rate: float
    shape: float
    scale: float
    peaks: int

    def probability(self, scores: NDArray[np.float64]) -> NDArray[np.float64]:
        """P(score > x), for x ≥ start."""
        excess = np.maximum(scores - self.start, 0.0) / self.scale
        if abs(self.shape) < 1e-9:
            return np.asarray(self.rate * np.exp(-excess))
        return np.asarray(self.rate * np.maximum(1 + self.shape * excess, 0.0) ** (-1 / self.shape))

    def quantile(self, level: float) -> float:
        """The score exceeded with probability `level` (≤ rate)."""
        ratio = self.rate / level
        if abs(self.shape) < 1e-9:
            return float(self.start + self.scale * np.log(ratio))
        return float(self.start + self.scale * (ratio**self.shape - 1) / self.shape)


class Calibration:
    """Benign scores of one detector and window length, in time order.

    Raises MimirError for no scores at all and for NaN or infinity among them.
    """

    def __init__(self, scores: ArrayLike, window_s: int):
        self.scores = np.asarray(scores, dtype=np.float64)
        self.window_s = window_s
        if not len(self.scores):
            raise MimirError(
                "no calibration scores, so no threshold: evaluation.calibrate_s must give at least one window"
            )
        if not np.isfinite(self.scores).all():
            bad = int((~np.isfinite(self.scores)).sum())
            raise MimirError(f"{bad} of {len(self.scores)} calibration scores are not finite: the detector is at fault")
        self._sorted = np.sort(self.scores)
        self.tail = self._fit_tail()

    def p_values(self, scores: ArrayLike) -> NDArray[np.float64]:
        """Conformal p-values; above the largest calibration score, where they saturate, that of the fitted tail."""
        s = np.asarray(scores, dtype=np.float64)
        above = len(self._sorted) - np.searchsorted(self._sorted, s, side="left")
        conformal = (1 + above) / (len(self._sorted) + 1)
        if self.tail is None:
            return np.asarray(conformal)
        return np.asarray(np.where(s > self._sorted[-1], np.minimum(self.tail.probability(s), conformal), conformal))

    def threshold(self, alerts_per_day: float) -> Threshold:
        """Alarm level alerts_per_day / windows a day; MimirError unless 0 < alerts_per_day ≤ windows a day."""
        per_day = DAY_S / self.window_s
        if not 0 < alerts_per_day <= per_day:
            raise MimirError(
                f"evaluation.alerts_per_day must lie in (0, {per_day:g}] for windows of {self.window_s} s "
                f"(got {alerts_per_day}); change it in conf/evaluation or the window length in conf/detector"
            )
        level, n = alerts_per_day / per_day, len(self._sorted)
        rank = int(np.floor(level * (n + 1) + 1e-9))
        if rank >= 1:
            note = f"the {rank}. largest of {n} benign scores"
            return Threshold(float(self._sorted[-rank]), level, "conformal", False, n, note)
        return self._beyond(level, n)

    def _beyond(self, level: float, n: int) -> Threshold:
        highest = float(self._sorted[-1])
        short = f"{n} benign windows cannot show a level of {level:.2g} (p ≥ {1 / (n + 1):.2g})"
        if self.tail is None:
            why = "all are equal" if highest == self._sorted[0] else f"fewer than {MIN_PEAKS} separate peaks for a tail"
            note = f"{short} and {why}: alerts above the largest score seen, so the rate is only known to be ≤ {1 / (n + 1):.2g}"
            return Threshold(highest, level, "conformal", True, n, note)
        tail = self.tail
        note = (
            f"{short}: extrapolated with a Pareto tail (shape {tail.shape:.2f}) fitted to {tail.peaks} separate peaks"
        )
        return Threshold(max(highest, tail.quantile(level)), level, "tail", True, n, note)

    def _fit_tail(self) -> Tail | None:
        """Pareto tail of the upper scores, or None where they do not vary enough."""
        n = len(self._sorted)
        share = min(TAIL_SHARE_MAX, max(TAIL_SHARE, TAIL_SCORES / n))
        start = float(np.quantile(self._sorted, 1 - share))
        rate = float((self._sorted > start).sum() / n)
        peaks = cluster_peaks(self.scores, start) - start
        if len(peaks) < MIN_PEAKS or float(np.ptp(peaks)) == 0.0:
            return None
        shape, scale = pareto_moments(peaks)
        return Tail(start, rate, shape, scale, len(peaks))


def cluster_peaks(scores: NDArray[np.float64], start: float) -> NDArray[np.float64]:
    """The largest score of each cluster of scores above `start`: one bad hour is one peak, not sixty.

    Windows are dependent. Clusters come from the times between exceedances (intervals estimator of the extremal index,
    Ferro & Segers 2003, equations 6 and 7).
    """
    above = np.flatnonzero(scores > start)
    if len(above) < 2:
        return scores[above]
    gaps = np.diff(above).astype(np.float64)
    base, other = (gaps, gaps) if gaps.max() <= 2 else (gaps - 1, gaps - 2)
    theta = min(1.0, 2 * base.sum() ** 2 / max(len(gaps) * (base * other).sum(), 1e-12))
    clusters = int(theta * len(above)) + 1
    # the longest gaps, up to but not including the C-th, separate clusters; ties stay together
    limit = np.sort(gaps)[::-1][clusters - 1] if clusters <= len(gaps) else 0.0
    cuts = np.flatnonzero(gaps > limit) + 1
    return np.array([scores[run].max() for run in np.split(above, cuts)])


def pareto_moments(excess: NDArray[np.float64]) -> tuple[float, float]:
    """Shape ξ and scale of a generalised Pareto distribution for excesses > 0.

    Probability-weighted moments (Hosking & Wallis 1987), ξ drawn towards 0 and clipped because samples are short, then
    raised by about 1/k: with k peaks the predictive tail of an exponential sample is Pareto with shape 1/k, and that is
    where an alarm level must be taken from if the realised rate is to be right on average.
    """
    x, k = np.sort(excess), len(excess)
    mean = float(x.mean())
    weighted = float((x * (1 - (np.arange(1, k + 1) - 0.35) / k)).mean())
    raw = 2 - mean / max(mean - 2 * weighted, 1e-12)
    shape = float(np.clip(raw, -1.0, 1.0)) * k / (k + SHAPE_PRIOR)
    shape = float(np.clip(shape, SHAPE_LOW, SHAPE_HIGH))
    return shape + 1 / (k + SCALE_PRIOR), mean * (1 - shape)
