"""Measures over windows: how many alerts were right, and how well the score ranks leaking windows above benign ones."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mimir.evaluation.intervals import UNKNOWN, Blocks, envelope, percentiles, poisson, proportion
from mimir.evaluation.measure import Measure, measure, undefined
from mimir.evaluation.ranking import Ranking, auroc, average_precision, oracle_f1, partial_auroc
from mimir.units import DAY_S, HOUR_S

Floats = NDArray[np.float64]
NO_POSITIVE = "no leak delivered bytes in a scored window"
NO_BENIGN = "no benign window in the test recording"
#: partial AUROC looks at false-positive rates up to this
MAX_FPR = 1e-2
#: one 60-minute incident a month of 30 days: the base rate at which precision is recomputed
MONTHLY_PREVALENCE = HOUR_S / (30 * DAY_S)
#: measures of this module, in the order they are printed
WINDOW_MEASURES = (
    "average_precision",
    "f1",
    "precision",
    "recall",
    "false_positive_rate",
    "false_alerts_per_day",
    "precision_monthly",
    "auroc",
    "partial_auroc",
    "oracle_f1",
)
_RANKERS: dict[str, Callable[[Floats, Floats], Floats]] = {
    "average_precision": average_precision,
    "auroc": auroc,
    "partial_auroc": lambda tp, fp: partial_auroc(tp, fp, MAX_FPR),
    "oracle_f1": oracle_f1,
}


@dataclass(frozen=True)
class Windows:
    """Windows of one length that are either positive (a leak delivered bytes) or benign; the rest is left out."""

    window_s: int
    start: NDArray[np.int64]  # (n,) UTC epoch seconds
    score: NDArray[np.float64]  # (n,)
    alert: NDArray[np.bool_]  # (n,)
    positive: NDArray[np.bool_]  # (n,)

    def keep(self, mask: NDArray[np.bool_]) -> Windows:
        """Only the windows where `mask` (n,) is true."""
        return Windows(self.window_s, self.start[mask], self.score[mask], self.alert[mask], self.positive[mask])


@dataclass(frozen=True)
class Resampling:
    """How intervals are made: see mimir.evaluation.intervals."""

    confidence: float
    resamples: int
    block_s: int


def window_measures(windows: Windows, how: Resampling, rng: np.random.Generator) -> dict[str, Measure]:
    """One measure per name of WINDOW_MEASURES."""
    blocks = Blocks.of(windows.start, windows.positive, how.block_s, how.resamples, rng)
    return {**_counted(windows, blocks, how.confidence), **_ranked(windows, blocks, how.confidence)}


def _counted(windows: Windows, blocks: Blocks, confidence: float) -> dict[str, Measure]:
    """Measures of the alerts as they were raised, at the threshold fixed before the test."""
    alert, positive = windows.alert, windows.positive
    kinds = (alert & positive, alert & ~positive, ~alert & positive, ~alert & ~positive)
    tp, fp, fn, tn = (int(k.sum()) for k in kinds)
    sampled = blocks.sums(*kinds)
    out = {
        **_right_alerts(tp, fp, fn, sampled, confidence if blocks.leaking > 1 else None),
        **_false_alerts(fp, tn, sampled, windows.window_s, confidence, blocks.quiet),
    }
    out["precision_monthly"] = _monthly(out["recall"], out["false_positive_rate"])
    return out


def _right_alerts(tp: int, fp: int, fn: int, sampled: list[Floats], confidence: float | None) -> dict[str, Measure]:
    """Recall, precision and F1; intervals only when there are several leaking blocks to resample (`confidence`)."""
    if not tp + fn:
        return dict.fromkeys(("recall", "precision", "f1"), undefined(NO_POSITIVE))
    rtp, rfp, rfn, _ = sampled

    def ratio(top: int, bottom: int, tops: Floats, bottoms: Floats) -> Measure:
        return measure(top / bottom, *(percentiles(_ratio(tops, bottoms), confidence) if confidence else UNKNOWN))

    return {
        "recall": ratio(tp, tp + fn, rtp, rtp + rfn),
        "f1": ratio(2 * tp, 2 * tp + fp + fn, 2 * rtp, 2 * rtp + rfp + rfn),
        "precision": ratio(tp, tp + fp, rtp, rtp + rfp) if tp + fp else undefined("no alert was raised"),
    }


def _false_alerts(
    fp: int, tn: int, sampled: list[Floats], window_s: int, confidence: float, quiet: int
) -> dict[str, Measure]:
    """How often benign windows alert. The interval holds the exact one (right when false alerts are few and alone)
    and the bootstrap one (right when they come in bursts)."""
    benign, per_day = fp + tn, DAY_S / window_s
    if not benign:
        return dict.fromkeys(("false_positive_rate", "false_alerts_per_day"), undefined(NO_BENIGN))
    _, rfp, _, rtn = sampled
    low, high = percentiles(_ratio(rfp, rfp + rtn), confidence) if quiet > 1 else UNKNOWN
    daily = UNKNOWN if low is None or high is None else (low * per_day, high * per_day)
    return {
        "false_positive_rate": measure(fp / benign, *envelope(proportion(fp, benign, confidence), (low, high))),
        "false_alerts_per_day": measure(
            fp / benign * per_day, *envelope(poisson(fp, benign / per_day, confidence), daily)
        ),
    }


def _monthly(recall: Measure, rate: Measure) -> Measure:
    """Precision if leaks were as rare as MONTHLY_PREVALENCE; the interval joins the worst and the best ends of both."""
    for needed in (recall, rate):
        if needed["value"] is None:
            return undefined(str(needed["reason"]))
    ends = (
        (recall["value"], rate["value"]),
        (recall["low"], rate["high"]),
        (recall["high"], rate["low"]),
    )
    value, low, high = (precision_at(r, f, MONTHLY_PREVALENCE) for r, f in ends)
    return measure(value, low, high) if value is not None else undefined("no alert was raised")


def precision_at(recall: float | None, false_positive_rate: float | None, prevalence: float) -> float | None:
    """Precision that a recall and a false-positive rate give at another prevalence; None when nothing is alerted.

    >>> round(precision_at(0.9, 0.01, 0.1), 2), round(precision_at(0.9, 0.01, MONTHLY_PREVALENCE), 2)
    (0.91, 0.11)
    """
    if recall is None or false_positive_rate is None:
        return None
    right, wrong = recall * prevalence, false_positive_rate * (1 - prevalence)
    return right / (right + wrong) if right + wrong > 0 else None


def _ranked(windows: Windows, blocks: Blocks, confidence: float) -> dict[str, Measure]:
    """Measures of the score alone, over all thresholds."""
    reason = ranking_undefined(windows)
    if reason:
        return dict.fromkeys(_RANKERS, undefined(reason))
    ranking = Ranking.of(windows.score, windows.positive)
    point = ranking.curve()
    samples: dict[str, list[Floats]] = {name: [] for name in _RANKERS}
    if blocks.leaking > 1:
        for part in blocks.chunks():
            tp, fp = ranking.curve(blocks.draws[part][:, blocks.index])
            usable = (tp[:, -1] > 0) & (fp[:, -1] > 0)
            for name, rank in _RANKERS.items():
                samples[name].append(rank(tp[usable], fp[usable]))
    out = {}
    for name, rank in _RANKERS.items():
        interval = percentiles(np.concatenate(samples[name]), confidence) if samples[name] else UNKNOWN
        out[name] = measure(float(rank(*point)), *interval)
    return out


def ranking_undefined(windows: Windows) -> str:
    """Why no ranking measure exists for these windows; empty when they do."""
    if not windows.positive.any():
        return NO_POSITIVE
    if windows.positive.all():
        return NO_BENIGN
    return "all scores are the same" if np.ptp(windows.score) == 0 else ""


def _ratio(top: Floats, bottom: Floats) -> Floats:
    out = np.full(len(top), np.nan)
    np.divide(top, bottom, out=out, where=bottom > 0)
    return out
