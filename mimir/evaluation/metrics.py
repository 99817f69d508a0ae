"""metrics.json: scores and alerts of the test recording, judged against the ledger (docs/concepts/evaluation.md)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mimir.errors import MimirError
from mimir.evaluation.incidents import EVENT_MEASURES, Outcome, event_measures, outcome
from mimir.evaluation.intervals import generator
from mimir.evaluation.localisation import SIZE_MEASURES, size_measures
from mimir.evaluation.measure import Measure, undefined
from mimir.evaluation.ranking import Ranking, precision_recall_points, roc_points
from mimir.evaluation.triggers import Benign, trigger_counts, undisturbed
from mimir.evaluation.truth import covered_by, delivered_in, split_ledger
from mimir.evaluation.windows import WINDOW_MEASURES, Resampling, Windows, ranking_undefined, window_measures
from mimir.exfiltration.ledger import LedgerEntry
from mimir.spec.schema import EvaluationSpec
from mimir.units import HOUR_S

if TYPE_CHECKING:
    import pandas as pd

SCHEMA = 1
CURVE_POINTS = 200
#: every measure of `overall` and of each entry of `by_class`, in the order they are printed
MEASURES = (*EVENT_MEASURES, *SIZE_MEASURES, *WINDOW_MEASURES)
_NO_LEDGER = "no ledger: what happened is unknown"
_THRESHOLD_FACTS = ("method", "extrapolated", "note")


@dataclass(frozen=True)
class _Judged:
    """One window length of the test recording beside the ledger."""

    window_s: int
    start: NDArray[np.int64]  # (T,)
    score: NDArray[np.float64]  # (T,)
    alert: NDArray[np.bool_]  # (T,)
    alerts: Mapping[int, Mapping[str, Any]]  #: window start → row of alerts.jsonl
    leaks: Sequence[LedgerEntry]
    delivered: NDArray[np.float64]  # (leaks, T) bytes
    covered: NDArray[np.bool_]  # (T,) within an incident or while detectors recover from it

    def windows(self, leaks: NDArray[np.bool_]) -> tuple[Windows, NDArray[np.float64]]:
        """Benign windows and those in which the chosen `leaks` delivered bytes, and these bytes."""
        bytes_out = self.delivered[leaks].sum(axis=0)
        positive = bytes_out > 0
        kept = positive | ~self.covered
        return Windows(self.window_s, self.start, self.score, self.alert, positive).keep(kept), bytes_out[kept]


def evaluate(
    scores: pd.DataFrame,
    alerts: Sequence[Mapping[str, Any]],
    truth: Sequence[Mapping[str, Any]] | None,
    spec: EvaluationSpec,
    primary_window_s: int,
    seed: int | Sequence[int],
    thresholds: Mapping[int, Mapping[str, Any]] | None = None,
    edges: int | None = None,
) -> dict[str, Any]:
    """The content of metrics.json.

    `scores` is scores.parquet, `alerts` and `truth` the rows of their files; `truth` None: no ledger exists (an empty one:
    nothing leaked). `thresholds` maps window_s to what calibration says (`method`, `extrapolated`, `note`); `edges` is the
    number of edges scored. Raises MimirError when the files contradict each other.
    """
    lengths = sorted(int(w) for w in scores["window_s"].unique())
    if primary_window_s not in lengths:
        raise MimirError(
            f"no window of {primary_window_s} s was scored, the first of detector.windows_s (got: {lengths})"
        )
    leaks, benign_events = split_ledger(truth or ())
    out = _head(spec, primary_window_s, len(scores), edges)
    for window_s in lengths:
        rows = scores[scores["window_s"] == window_s]
        judged = _judge(rows, alerts, leaks, window_s, spec.recovery_s)
        benign = Benign(window_s, judged.start, judged.alert, judged.covered)
        outcomes = [outcome(leak, judged.start, judged.alert, window_s, judged.alerts) for leak in leaks]
        out["windows"][str(window_s)] = {
            "threshold": _threshold(rows, spec, window_s, (thresholds or {}).get(window_s, {})),
            **_one_length(judged, outcomes, truth is not None, spec, seed),
            "triggers": trigger_counts(benign, benign_events, spec.trigger_recovery_s, spec.confidence),
            "undisturbed": undisturbed(benign, benign_events, spec.trigger_recovery_s, spec.confidence),
        }
        out["curves"][str(window_s)] = _curves(judged)
        out["incidents"] += [o.row() for o in outcomes]
    out["benign_triggers"] = {
        kind: {"windows": t["windows"], "alerts": t["false_alerts"], "false_positive_rate": t["false_positive_rate"],
               "after_windows": t["after"]["windows"], "after_alerts": t["after"]["false_alerts"]}
        for kind, t in out["windows"][str(primary_window_s)]["triggers"].items()
    }  # fmt: skip
    out["incidents"].sort(key=lambda i: (i["start"], i["incident"], i["window_s"]))
    return out


def evaluate_stream(
    scores: pd.DataFrame,
    alerts: Sequence[Mapping[str, Any]],
    truth: Sequence[Mapping[str, Any]] | None,
    spec: EvaluationSpec,
    seed: int | Sequence[int],
    threshold: Mapping[str, Any],
) -> dict[str, Any]:
    """The entry `stream` of metrics.json: the alerts of all window lengths together, as one length is judged.

    `scores` is stream.parquet, `alerts` the rows of stream.jsonl, `threshold` detector/stream.json.
    """
    window_s = int(scores["window_s"].iloc[0])
    leaks, benign_events = split_ledger(truth or ())
    judged = _judge(scores, alerts, leaks, window_s, spec.recovery_s)
    benign = Benign(window_s, judged.start, judged.alert, judged.covered)
    outcomes = [outcome(leak, judged.start, judged.alert, window_s, judged.alerts) for leak in leaks]
    return {
        "window_s": window_s,
        "windows_s": list(threshold.get("windows_s", ())),
        "threshold": _threshold(scores, spec, window_s, threshold),
        **_one_length(judged, outcomes, truth is not None, spec, seed),
        "triggers": trigger_counts(benign, benign_events, spec.trigger_recovery_s, spec.confidence),
    }


def _head(spec: EvaluationSpec, primary_window_s: int, windows_scored: int, edges: int | None) -> dict[str, Any]:
    """metrics.json before any window length is judged."""
    return {
        "schema": SCHEMA,
        "primary_window_s": primary_window_s,
        "alerts_per_day": spec.alerts_per_day,
        "confidence": spec.confidence,
        "cost": {"windows_scored": windows_scored, "edges": edges},
        "windows": {},
        "curves": {},
        "benign_triggers": {},
        "incidents": [],
    }


def _judge(
    rows: pd.DataFrame,
    alerts: Sequence[Mapping[str, Any]],
    leaks: Sequence[LedgerEntry],
    window_s: int,
    recovery_s: int,
) -> _Judged:
    """Join one window length of the test recording with the ledger; checks that scores and alerts agree."""
    test = rows[rows["recording"] == "test"].sort_values("window_start")
    start = test["window_start"].to_numpy(dtype=np.int64)
    score = test["score"].to_numpy(dtype=np.float64)
    alert = test["alert"].to_numpy(dtype=np.bool_)
    if not np.isfinite(score).all():
        raise MimirError(
            f"scores.parquet, windows of {window_s} s: {(~np.isfinite(score)).sum()} scores are not finite"
        )
    if (np.diff(start) <= 0).any():
        raise MimirError(f"scores.parquet, windows of {window_s} s: a window is scored twice")
    lines = {int(a["ts"]): a for a in alerts if int(a["window_s"]) == window_s}
    raised = set(start[alert].tolist())
    if lines.keys() != raised:
        odd = min(lines.keys() ^ raised)
        raise MimirError(f"scores.parquet and alerts.jsonl disagree about the {window_s} s window that starts at {odd}")
    delivered = np.zeros((len(leaks), len(start)))
    for i, leak in enumerate(leaks):
        delivered[i] = delivered_in(leak, start, window_s)
    covered = covered_by(leaks, start, window_s, recovery_s)
    return _Judged(window_s, start, score, alert, lines, leaks, delivered, covered)


def _one_length(
    judged: _Judged, outcomes: Sequence[Outcome], known: bool, spec: EvaluationSpec, seed: int | Sequence[int]
) -> dict[str, Any]:
    """`test`, `overall` and `by_class` of one window length."""
    everything = np.ones(len(judged.leaks), dtype=np.bool_)
    kept, _ = judged.windows(everything)
    positive, total = int(kept.positive.sum()), len(judged.start)
    test = {
        "windows": total,
        "hours": total * judged.window_s / HOUR_S,
        "positive_windows": positive if known else None,
        "excluded_windows": total - len(kept.start) if known else None,
        "prevalence": positive / len(kept.start) if known and len(kept.start) else None,
    }
    if not known:
        return {"test": test, "overall": dict.fromkeys(MEASURES, undefined(_NO_LEDGER)), "by_class": {}}
    overall = _measures(judged, everything, outcomes, spec, seed)
    classes = sorted({leak.path_class for leak in judged.leaks if leak.bytes_delivered > 0})
    by_class: dict[str, Any] = {}
    for path_class in classes:
        chosen = np.asarray([leak.path_class == path_class for leak in judged.leaks])
        of_class = [o for o, mine in zip(outcomes, chosen, strict=True) if mine]
        measures = overall if len(classes) == 1 else _measures(judged, chosen, of_class, spec, seed)
        by_class[path_class] = {**measures, "incidents": sum(o.detected is not None for o in of_class)}
    return {"test": test, "overall": overall, "by_class": by_class}


def _measures(
    judged: _Judged,
    chosen: NDArray[np.bool_],
    outcomes: Sequence[Outcome],
    spec: EvaluationSpec,
    seed: int | Sequence[int],
) -> dict[str, Measure]:
    """All MEASURES for the chosen leaks against all benign windows. Every class gets the same random streams."""
    kept, bytes_out = judged.windows(chosen)
    raised = [(judged.alerts[int(w)], float(b)) for w, b, a in zip(kept.start, bytes_out, kept.alert, strict=True) if a]
    how = Resampling(spec.confidence, spec.bootstrap_resamples, spec.block_s)
    for_events, for_windows = (generator(seed, judged.window_s, purpose) for purpose in (0, 1))
    return {
        **event_measures(outcomes, how.confidence, how.resamples, for_events),
        **size_measures([a for a, _ in raised], [b for _, b in raised]),
        **window_measures(kept, how, for_windows),
    }


def _threshold(rows: pd.DataFrame, spec: EvaluationSpec, window_s: int, facts: Mapping[str, Any]) -> dict[str, Any]:
    """The threshold the alerts were raised with, as it stands in scores.parquet."""
    used = sorted({float(t) for t in rows["threshold"]})
    if len(used) != 1:
        raise MimirError(f"scores.parquet, windows of {window_s} s: there must be one threshold (got {used})")
    return {
        "value": used[0],
        "level": min(1.0, spec.alerts_per_day * window_s / (24 * HOUR_S)),
        "calibration_windows": int((rows["recording"] == "calibrate").sum()),
        **{name: facts.get(name) for name in _THRESHOLD_FACTS},
    }


def _curves(judged: _Judged) -> dict[str, Any]:
    """ROC and precision–recall points over all leaks; null when there is nothing to rank."""
    kept, _ = judged.windows(np.ones(len(judged.leaks), dtype=np.bool_))
    if ranking_undefined(kept):
        return {"roc": None, "precision_recall": None}
    tp, fp = Ranking.of(kept.score, kept.positive).curve()
    return {"roc": roc_points(tp, fp, CURVE_POINTS), "precision_recall": precision_recall_points(tp, fp, CURVE_POINTS)}
