"""Windows of a recording, and a detector judged on them against the ledger: what benchmark and fidelity have in common."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mimir.detectors.alerts import build_alerts
from mimir.detectors.base import Detector, Scores
from mimir.detectors.calibration import Calibration
from mimir.evaluation.cells import Cell, Row, judge
from mimir.evaluation.truth import split_ledger
from mimir.files import read_jsonl
from mimir.flows.edges import EdgeSeries
from mimir.flows.identity import read_workloads
from mimir.flows.series import load_series
from mimir.pipeline.recordings import Recorded
from mimir.spec.schema import EvaluationSpec
from mimir.units import DAY_S


def series_of(recorded: Recorded, sensitive: Sequence[str], window_s: int) -> EdgeSeries:
    """The windows of a recording, all of them whole: it begins with one of every length."""
    order = recorded.order
    return load_series(
        recorded.edges.folder / "edges.parquet", "", window_s, order.start_s, order.duration_s // window_s,
        workloads=read_workloads(recorded.record.folder / "entities.jsonl"), sensitive=frozenset(sensitive),
    )  # fmt: skip


def judged(
    detector: Detector,
    calibration: Calibration,
    series: EdgeSeries,
    truth: Recorded,
    how: EvaluationSpec,
    incident_s: float,
    budgets: Sequence[float] = (),
) -> list[Row]:
    """Rows of `mimir.evaluation.cells` of one test recording, at the evaluation's alert budget and at `budgets` (alerts a day).

    Budgets of more alerts a day than there are windows stay out. Alerts are explained at the evaluation's budget only.
    """
    window_s, asked = calibration.window_s, how.alerts_per_day
    scores = detector.score(series)
    thresholds = {b: calibration.threshold(b) for b in sorted({asked, *(b for b in budgets if b <= DAY_S / window_s)})}
    leaks, events = split_ledger(read_jsonl(truth.record.folder / "truth.jsonl"))
    after = (how.recovery_s, incident_s, how.trigger_recovery_s)
    cell = Cell(window_s, scores.window_start, scores.score, leaks, events, *after)

    def explain(positions: NDArray[np.int64]) -> Sequence[Mapping[str, Any]]:
        return build_alerts(detector, series, _only(scores, positions), calibration, thresholds[asked], asked)

    return judge(cell, {b: t.value for b, t in thresholds.items()}, asked, explain)


def _only(scores: Scores, positions: NDArray[np.int64]) -> Scores:
    """The same scores with all other windows below any threshold, so that only these are explained."""
    low = np.full(len(scores.score), -np.inf)
    low[positions] = scores.score[positions]
    return Scores(scores.window_s, scores.window_start, low, scores.edges, scores.contributions)
