"""Scores above the threshold become alerts: rows of alerts.jsonl (docs/concepts/run-directory.md)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from mimir.detectors.base import Detector, Reason, Scores
from mimir.detectors.calibration import Calibration, Threshold
from mimir.detectors.look_alikes import with_context
from mimir.detectors.parameters import remembering
from mimir.flows.edges import EdgeSeries, Window


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
    with remembering(detector):
        for index in np.flatnonzero(scores.score > threshold.value).tolist():
            head = {
                "ts": int(scores.window_start[index]),
                "window_s": scores.window_s,
                "score": float(scores.score[index]),
                "p_value": float(p_values[index]),
                "threshold": threshold.value,
                "budget": alerts_per_day,
            }
            rows.append(head | alert_row(explained(detector, series.at(index))))
    return rows


def explained(detector: Detector, window: Window) -> list[Reason]:
    """Reasons of a window with what else would explain them, and since when."""
    return [with_context(reason, window.start) for reason in detector.explain(window)]


def alert_row(reasons: Sequence[Reason], windows: float = 1.0) -> dict[str, Any]:
    """What reasons say about an alert: the first of them that knows a thing. Sizes are a window's, times `windows`."""
    sized = next((r for r in reasons if r.bytes_estimate is not None), None)
    ends = (sized.bytes_estimate, sized.bytes_low, sized.bytes_high) if sized else (None, None, None)
    estimate, low, high = (None if value is None else float(value) * windows for value in ends)
    return {
        "reasons": [_plain(reason) for reason in reasons],
        "path": list(_first(reasons, "path")),
        "pods": list(_first(reasons, "pods")),
        "bytes_estimate": estimate,
        "bytes_low": low,
        "bytes_high": high,
        "technique": next((r.technique for r in reasons if r.technique), ""),
        "since": next((r.since for r in reasons if r.since is not None), None),
        "look_alikes": list(_first(reasons, "look_alikes")),
    }


def _first(reasons: Sequence[Reason], name: str) -> tuple[str, ...]:
    return next((getattr(reason, name) for reason in reasons if getattr(reason, name)), ())


def _plain(reason: Reason) -> dict[str, Any]:
    return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(reason).items()}
