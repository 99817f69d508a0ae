"""One cell of a benchmark: scores of one test recording against its ledger, as rows of a tidy table.

The same rules as mimir.evaluation.metrics (docs/concepts/evaluation.md), without intervals: in a benchmark these come from
seeds. A recording may hold incidents of several rates; windows of the other rates count neither as benign nor as leaking.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mimir.evaluation.incidents import Outcome, belongs, outcome
from mimir.evaluation.ranking import Ranking, auroc, average_precision, oracle_f1, partial_auroc
from mimir.evaluation.truth import covered_by, delivered_in
from mimir.evaluation.windows import MAX_FPR, Windows, ranking_undefined
from mimir.exfiltration.ledger import LedgerEntry
from mimir.units import DAY_S

Row = dict[str, Any]
#: alerts.jsonl rows of the windows at these positions
Explain = Callable[[NDArray[np.int64]], Sequence[Mapping[str, Any]]]
EXPLAINED = 10  #: alerts of an incident whose claims are compared with the ledger, after the first: explaining costs
RANKERS = {"average_precision": average_precision, "auroc": auroc, "oracle_f1": oracle_f1}


@dataclass(frozen=True)
class Cell:
    """Scores of one detector at one window length on one test recording."""

    window_s: int
    start: NDArray[np.int64]  # (T,) UTC epoch seconds
    score: NDArray[np.float64]  # (T,)
    leaks: Sequence[LedgerEntry]
    benign_events: Sequence[LedgerEntry]
    recovery_s: int
    incident_s: float  #: planned length of an incident
    trigger_recovery_s: int


def rate_of(leak: LedgerEntry, duration_s: float) -> float:
    """Intended stolen bytes a minute over the planned duration, three significant digits."""
    return float(f"{leak.bytes_intended * 60 / duration_s:.3g}")


def judge(cell: Cell, thresholds: Mapping[float, float], explain_at: float, explain: Explain) -> list[Row]:
    """Rows {budget, rate_bytes_per_min, path_class, incident, measure, value} of a cell.

    `thresholds`: alerts a day → threshold. Paths and sizes are judged at the budget `explain_at` only, since explaining is
    the expensive part. An undefined measure has no row.
    """
    delivered = np.array([delivered_in(leak, cell.start, cell.window_s) for leak in cell.leaks])
    delivered = delivered.reshape(len(cell.leaks), len(cell.start))
    covered = covered_by(cell.leaks, cell.start, cell.window_s, cell.recovery_s)
    rows = _ranked(cell, delivered, covered)
    for budget, threshold in thresholds.items():
        alert = cell.score > threshold
        told = _told(cell, alert, explain) if budget == explain_at else {}
        rows += [row | {"budget": budget} for row in _benign(cell, alert, covered)]
        rows += [row | {"budget": budget} for row in _events(cell, alert, delivered, covered, told)]
        rows += [row | {"budget": budget} for row in _counted(cell, alert, delivered, covered)]
    return rows


def _told(cell: Cell, alert: NDArray[np.bool_], explain: Explain) -> dict[int, Mapping[str, Any]]:
    """Window start → its alert, for the first alert of each incident and EXPLAINED more, spread over the incident."""
    chosen: list[int] = []
    for leak in cell.leaks:
        raised = np.flatnonzero(alert & belongs(leak, cell.start, cell.window_s))
        if len(raised):
            spread = np.linspace(0, len(raised) - 1, min(len(raised), EXPLAINED + 1))
            chosen += raised[spread.round().astype(np.int64)].tolist()
    return {int(a["ts"]): a for a in explain(np.unique(np.array(chosen, dtype=np.int64)))}


def _row(measure: str, value: float, rate: float | None = None, path_class: str = "", incident: str = "") -> Row:
    return {
        "budget": np.nan,
        "rate_bytes_per_min": np.nan if rate is None else rate,
        "path_class": path_class,
        "incident": incident,
        "measure": measure,
        "value": float(value),
    }


def _benign(cell: Cell, alert: NDArray[np.bool_], covered: NDArray[np.bool_]) -> list[Row]:
    """False alerts and the benign time they were raised in; the same for each kind of benign trigger."""
    rows = [
        _row("false_alerts", (alert & ~covered).sum()),
        _row("benign_days", (~covered).sum() * cell.window_s / DAY_S),
    ]
    for kind in sorted({event.path_class for event in cell.benign_events}):
        events = (event for event in cell.benign_events if event.path_class == kind)
        during = covered_by(events, cell.start, cell.window_s, cell.trigger_recovery_s) & ~covered
        rows += [
            _row("trigger_false_alerts", (during & alert).sum(), path_class=kind),
            _row("trigger_days", during.sum() * cell.window_s / DAY_S, path_class=kind),
        ]
    return rows


def _events(
    cell: Cell,
    alert: NDArray[np.bool_],
    delivered: NDArray[np.float64],
    covered: NDArray[np.bool_],
    told: Mapping[int, Mapping[str, Any]],
) -> list[Row]:
    rows: list[Row] = []
    for leak, bytes_out in zip(cell.leaks, delivered, strict=True):
        seen = outcome(leak, cell.start, alert, cell.window_s, told)
        if seen.detected is None:
            continue
        found = {
            "detected": float(seen.detected),
            "delay_s": seen.delay_s,
            "bytes_before_alert": seen.bytes_before_alert,
        }
        if told:
            found |= _claims(cell, seen, bytes_out, told)
        rows += [
            _row(name, value, rate_of(leak, cell.incident_s), leak.path_class, leak.incident)
            for name, value in found.items()
            if value is not None
        ]
    return rows


def _claims(
    cell: Cell, seen: Outcome, bytes_out: NDArray[np.float64], told: Mapping[int, Mapping[str, Any]]
) -> dict[str, float | None]:
    """Path and size claimed in alerts of an incident; sizes only where a whole window leaks."""
    inside = (cell.start >= seen.leak.start) & (cell.start + cell.window_s <= seen.leak.end)
    pairs = [
        (told[int(s)], b) for s, b in zip(cell.start[inside], bytes_out[inside], strict=True) if int(s) in told and b
    ]
    errors = [abs(a["bytes_estimate"] - b) / b for a, b in pairs if a.get("bytes_estimate") is not None]
    held = [a["bytes_low"] <= b <= a["bytes_high"] for a, b in pairs if a.get("bytes_low") is not None]
    named = bool(seen.paths)
    return {
        "path_named": float(named) if seen.detected else None,
        "path_top1": float(seen.path_correct() is True) if seen.detected else None,
        "path_top3": float(seen.path_correct(3) is True) if seen.detected else None,
        "size_relative_error": float(np.median(errors)) if errors else None,
        "size_covered": float(np.mean(held)) if held else None,
    }


def _groups(cell: Cell) -> list[tuple[float, str, NDArray[np.bool_]]]:
    """Incidents that are judged together: same rate, same path class."""
    labels = [(rate_of(leak, cell.incident_s), leak.path_class) for leak in cell.leaks]
    return [(*label, np.array([one == label for one in labels])) for label in sorted(set(labels))]


def _windows(
    cell: Cell,
    alert: NDArray[np.bool_],
    delivered: NDArray[np.float64],
    covered: NDArray[np.bool_],
    mine: NDArray[np.bool_],
) -> Windows:
    positive = delivered[mine].sum(axis=0) > 0
    return Windows(cell.window_s, cell.start, cell.score, alert, positive).keep(positive | ~covered)


def _ranked(cell: Cell, delivered: NDArray[np.float64], covered: NDArray[np.bool_]) -> list[Row]:
    rows: list[Row] = []
    nobody = np.zeros(len(cell.start), dtype=np.bool_)
    for rate, path_class, mine in _groups(cell):
        windows = _windows(cell, nobody, delivered, covered, mine)
        if ranking_undefined(windows):
            continue
        tp, fp = Ranking.of(windows.score, windows.positive).curve()
        values = {name: float(rank(tp, fp)) for name, rank in RANKERS.items()}
        values |= {"partial_auroc": float(partial_auroc(tp, fp, MAX_FPR)), "prevalence": float(windows.positive.mean())}
        rows += [_row(name, value, rate, path_class) for name, value in values.items()]
    return rows


def _counted(
    cell: Cell, alert: NDArray[np.bool_], delivered: NDArray[np.float64], covered: NDArray[np.bool_]
) -> list[Row]:
    """F1, precision and recall of windows at the threshold."""
    rows: list[Row] = []
    for rate, path_class, mine in _groups(cell):
        windows = _windows(cell, alert, delivered, covered, mine)
        if not windows.positive.any():
            continue
        tp = int((windows.alert & windows.positive).sum())
        fp, fn = int((windows.alert & ~windows.positive).sum()), int((~windows.alert & windows.positive).sum())
        values = {"recall": tp / (tp + fn), "f1": 2 * tp / (2 * tp + fp + fn)}
        if tp + fp:
            values["precision"] = tp / (tp + fp)
        rows += [_row(name, value, rate, path_class) for name, value in values.items()]
    return rows
