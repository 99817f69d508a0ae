"""Scores above the threshold become alerts: rows of alerts.jsonl (docs/concepts/run-directory.md)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from mimir.detectors.base import Detector, Reason, Scores
from mimir.detectors.calibration import Calibration, Threshold
from mimir.flows.edges import EdgeSeries


def build_alerts(
    detector: Detector,
    series: EdgeSeries,
    scores: Scores,
    calibration: Calibration,
    threshold: Threshold,
    alerts_per_day: float,
) -> list[dict[str, Any]]:
    """One row per window with score > threshold, in time order; `scores` must be those of `series`.

    `path`, `pods`, size and technique are those of the first reason that has them: detectors put the strongest first.
    """
    p_values = calibration.p_values(scores.score)
    rows = []
    for index in np.flatnonzero(scores.score > threshold.value).tolist():
        reasons = detector.explain(series.at(index))
        sized = next((r for r in reasons if r.bytes_estimate is not None), None)
        rows.append(
            {
                "ts": int(scores.window_start[index]),
                "window_s": scores.window_s,
                "score": float(scores.score[index]),
                "p_value": float(p_values[index]),
                "threshold": threshold.value,
                "budget": alerts_per_day,
                "reasons": [_plain(reason) for reason in reasons],
                "path": list(_first(reasons, "path")),
                "pods": list(_first(reasons, "pods")),
                "bytes_estimate": sized.bytes_estimate if sized else None,
                "bytes_low": sized.bytes_low if sized else None,
                "bytes_high": sized.bytes_high if sized else None,
                "technique": next((r.technique for r in reasons if r.technique), ""),
            }
        )
    return rows


def _first(reasons: Sequence[Reason], name: str) -> tuple[str, ...]:
    return next((getattr(reason, name) for reason in reasons if getattr(reason, name)), ())


def _plain(reason: Reason) -> dict[str, Any]:
    return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(reason).items()}
