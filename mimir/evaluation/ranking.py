"""Measures of a ranking of windows by score, exact with ties, for one sample or for many weighted resamples at once.

Every function takes `tp` and `fp`: the weight of positive and of benign windows scored at or above each distinct score,
highest score first, shape (…, G). One row per resample; the last axis is summed or searched.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Ranking:
    """Windows in descending order of score. Windows with the same score can only be alerted together."""

    order: NDArray[np.int64]  # (n,)
    positive: NDArray[np.bool_]  # (n,) in that order
    last: NDArray[np.int64]  # (G,) position of the last window of each distinct score

    @staticmethod
    def of(score: Floats, positive: NDArray[np.bool_]) -> Ranking:
        """Rank n windows; all scores must be finite."""
        order = np.argsort(-score, kind="stable")
        ranked = score[order]
        last = np.flatnonzero(np.append(np.diff(ranked) != 0, True))
        return Ranking(order, positive[order], last)

    def curve(self, weight: Floats | None = None) -> tuple[Floats, Floats]:
        """(tp, fp) for window weights of shape (…, n) in the original order; None counts every window once."""
        ranked = np.ones(len(self.order)) if weight is None else weight[..., self.order]
        tp = np.cumsum(ranked * self.positive, axis=-1)[..., self.last]
        fp = np.cumsum(ranked * ~self.positive, axis=-1)[..., self.last]
        return tp, fp


def _steps(cumulative: Floats) -> Floats:
    return np.diff(cumulative, axis=-1, prepend=0.0)


def average_precision(tp: Floats, fp: Floats) -> Floats:
    """Σ (R_k − R_{k−1}) P_k over distinct scores, without interpolation."""
    alerted = tp + fp
    precision = np.divide(tp, alerted, out=np.zeros_like(tp), where=alerted > 0)
    return np.asarray((_steps(tp) * precision).sum(axis=-1) / tp[..., -1])


def auroc(tp: Floats, fp: Floats) -> Floats:
    """Area under the ROC curve = P(positive scores above benign) + ½ P(tie) (Hanley & McNeil 1982)."""
    before = tp - _steps(tp)
    return np.asarray((_steps(fp) * (before + tp)).sum(axis=-1) / (2 * tp[..., -1] * fp[..., -1]))


def partial_auroc(tp: Floats, fp: Floats, max_fpr: float) -> Floats:
    """Area left of `max_fpr`, standardised so that chance gives 0.5 and perfect 1 (McClish 1989)."""
    x, y = fp / fp[..., -1:], tp / tp[..., -1:]
    dx, dy = _steps(x), _steps(y)
    x0, y0 = x - dx, y - dy
    width = np.clip(max_fpr - x0, 0.0, dx)
    slope = np.divide(dy, dx, out=np.zeros_like(dy), where=dx > 0)
    area = (width * (y0 + slope * width / 2)).sum(axis=-1)
    least = max_fpr**2 / 2
    return np.asarray(0.5 * (1 + (area - least) / (max_fpr - least)))


def oracle_f1(tp: Floats, fp: Floats) -> Floats:
    """Best F1 over all thresholds, chosen with the labels in hand: an upper limit nobody can operate at."""
    return np.asarray((2 * tp / (tp[..., -1:] + tp + fp)).max(axis=-1))


def roc_points(tp: Floats, fp: Floats, most: int) -> list[list[float]]:
    """At most `most` points [false-positive rate, recall] of one curve, (0, 0) to (1, 1), dense at the left end."""
    x = np.append(0.0, fp / fp[-1])
    y = np.append(0.0, tp / tp[-1])
    return [[float(x[i]), float(y[i])] for i in _pick(len(x), most)]


def precision_recall_points(tp: Floats, fp: Floats, most: int) -> list[list[float]]:
    """At most `most` points [recall, precision] of one curve by falling threshold, dense at the left end."""
    recall, precision = tp / tp[-1], tp / (tp + fp)
    return [[float(recall[i]), float(precision[i])] for i in _pick(len(tp), most)]


def _pick(count: int, most: int) -> list[int]:
    """Indices 0 … count − 1, thinned to at most `most`; first and last are kept, low ones (few alerts) stay dense."""
    if count <= most:
        return list(range(count))
    return [int(i) - 1 for i in np.unique(np.geomspace(1, count, most).round())]
