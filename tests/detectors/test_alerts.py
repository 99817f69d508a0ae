"""Rows of alerts.jsonl: one per window above the threshold, complete, and JSON."""

from __future__ import annotations

import numpy as np

from mimir import files
from mimir.detectors.alerts import build_alerts
from mimir.detectors.base import Scores
from mimir.detectors.calibration import Calibration
from mimir.detectors.invariants import Invariants
from tests.support.toyshop import Leak, Toy, shop

FIELDS = {
    "ts", "window_s", "score", "p_value", "threshold", "budget", "reasons", "path", "pods", "bytes_estimate", "bytes_low",
    "bytes_high", "technique", "since", "look_alikes",
}  # fmt: skip


def test_alerts_are_the_windows_above_the_threshold() -> None:
    detector = Invariants().fit(shop(Toy(120, seed=1)))
    calibration = Calibration(detector.score(shop(Toy(120, seed=2))).score, 60)
    threshold = calibration.threshold(1)
    series = shop(Toy(60, seed=3), Leak(30, 40, 1e6, ("user-db", "outside:sink")))
    scores = detector.score(series)
    rows = build_alerts(detector, series, scores, calibration, threshold, 1.0)
    assert [r["ts"] for r in rows] == series.window_start[scores.score > threshold.value].tolist()
    for row in rows:
        assert row.keys() == FIELDS
        assert row["score"] > row["threshold"] == threshold.value
        assert row["p_value"] <= threshold.level
        assert row["reasons"]
        files.to_json(row)
    inside = [r for r in rows if 30 <= (r["ts"] - series.window_start[0]) // 60 < 40]
    assert len(inside) == 10
    assert all(r["path"] == ["user-db", "outside:sink"] and r["pods"] == ["user-db-0"] for r in inside)
    assert all(r["bytes_low"] <= r["bytes_estimate"] <= r["bytes_high"] for r in inside)


def test_a_score_equal_to_the_threshold_is_no_alert() -> None:
    detector = Invariants(families=["I1"]).fit(shop(Toy(20, seed=1)))
    series = shop(Toy(20, seed=2))
    calibration = Calibration(np.zeros(20), 60)
    scores = Scores(60, series.window_start, np.zeros(20), series.edges, np.zeros((20, len(series.edges))))
    assert build_alerts(detector, series, scores, calibration, calibration.threshold(1), 1.0) == []
