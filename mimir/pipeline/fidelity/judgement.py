"""Recordings of one case → residuals of I3 on held-out benign traffic, and what detectors made of leak and quiet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mimir.detectors.alerts import build_alerts
from mimir.detectors.base import Scores
from mimir.detectors.calibration import Calibration
from mimir.detectors.combination import calibration_scores
from mimir.detectors.invariants.targets import BYTES, OWN, Counts, residuals_of
from mimir.detectors.invariants.volume import Volume
from mimir.detectors.registry import create
from mimir.evaluation.cells import Cell, Row, judge
from mimir.evaluation.truth import split_ledger
from mimir.files import read_jsonl
from mimir.flows.edges import EdgeSeries
from mimir.flows.identity import read_workloads
from mimir.flows.series import load_series
from mimir.pipeline.fidelity.cases import QUIET
from mimir.pipeline.recordings import Recorded
from mimir.spec import Spec

MEMORY = (1, 5, 15)


def series_of(spec: Spec, recorded: Recorded, window_s: int) -> EdgeSeries:
    """The windows of a recording, which begins at a whole one."""
    order = recorded.order
    return load_series(
        recorded.edges.folder / "edges.parquet", "", window_s, order.start_s, order.duration_s // window_s,
        workloads=read_workloads(recorded.record.folder / "entities.jsonl"), sensitive=frozenset(spec.app.sensitive),
    )  # fmt: skip


def residuals(spec: Spec, recorded: Mapping[str, Recorded], window_s: int, lags: int, ridge: float) -> pd.DataFrame:
    """Bytes of each edge as I3 expects them from its own requests: learned on fit, judged on calibrate.

    Columns client, server, server_port, proto, counter, window, observed, expected.
    """
    fit, held = (series_of(spec, recorded[name], window_s) for name in ("fit", "calibrate"))
    volume = Volume(lags, ridge, MEMORY).fit(fit)
    found = residuals_of(volume.invariants, Counts(held, volume.keys, volume.dns, volume.presence))
    parts = []
    for m, invariant in enumerate(volume.invariants):
        if invariant.target.kind == OWN and invariant.target.counter in BYTES:
            key = volume.keys[invariant.target.edge]
            values = {"observed": found.observed[:, m], "expected": found.expected[:, m]}
            head = {**key._asdict(), "counter": invariant.target.counter}
            parts.append(pd.DataFrame({"window": np.arange(len(held)), **values}).assign(**head))
    return pd.concat(parts, ignore_index=True)


def verdicts(spec: Spec, recorded: Mapping[str, Recorded]) -> list[Row]:
    """Rows of `mimir.evaluation.cells` with detector, window_s and recording (test: with the leak; quiet: without)."""
    rows: list[Row] = []
    budget, how = spec.evaluation.alerts_per_day, spec.evaluation
    for window_s in spec.detector.windows_s:
        detector = create(spec.detector).fit(series_of(spec, recorded["fit"], window_s))
        benign = calibration_scores(detector, series_of(spec, recorded["calibrate"], window_s))
        calibration = Calibration(benign.score, window_s)
        threshold = calibration.threshold(budget)
        for name in ("test", QUIET):
            series = series_of(spec, recorded[name], window_s)
            scores = detector.score(series)
            leaks, events = split_ledger(read_jsonl(recorded[name].record.folder / "truth.jsonl"))
            after = (how.recovery_s, float(spec.exfiltration.incident_duration_s), how.trigger_recovery_s)
            cell = Cell(window_s, scores.window_start, scores.score, leaks, events, *after)

            def explain(
                positions: NDArray[np.int64], series: EdgeSeries = series, scores: Scores = scores
            ) -> Sequence[Mapping[str, Any]]:
                low = np.full(len(scores.score), -np.inf)
                low[positions] = scores.score[positions]
                chosen = replace(scores, score=low)
                return build_alerts(detector, series, chosen, calibration, threshold, budget)  # noqa: B023

            head = {"detector": spec.detector.name, "window_s": window_s, "recording": name}
            rows += [head | row for row in judge(cell, {budget: threshold.value}, budget, explain)]
    return rows
