"""A small recording to judge: 3 h of 60 s windows, one leak of ten minutes, scores that are easy to reason about."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from mimir.evaluation import evaluate
from mimir.spec.schema import EvaluationSpec
from tests.support.specs import spec

T0 = 1_700_000_040  # a multiple of 60
PATH = ["user-db", "user", "front-end", "outside"]


def make_spec(**changes: Any) -> EvaluationSpec:
    values: dict[str, Any] = {
        "name": "test",
        "fit_s": 3600,
        "calibrate_s": 3600,
        "test_s": 10_800,
        "train_s": 3600,
        "train": spec().evaluation.train,
        "alerts_per_day": 1.0,
        "confidence": 0.95,
        "bootstrap_resamples": 50,
        "block_s": 1800,
        "recovery_s": 0,
        "trigger_recovery_s": 0,
        "expect": {},
    }
    return EvaluationSpec(**(values | changes))


def make_incident(
    name: str = "leak-1", start: float = T0 + 3600.0, duration: float = 600.0, **changes: Any
) -> dict[str, Any]:
    """1 kB every second, from `start` on."""
    delivered = [[start + s, 1000.0 * s] for s in range(1, int(duration) + 1)]
    row: dict[str, Any] = {
        "incident": name,
        "recording": "test",
        "start": start,
        "end": start + duration,
        "channel": "http_relay",
        "technique": "T1041",
        "path_class": "allowed_chain",
        "path": PATH,
        "pods": ["user-db-0", "user-1", "front-end-1", ""],
        "bytes_intended": 1000 * int(duration),
        "bytes_delivered": 1000 * int(duration),
        "sha256_sent": "0" * 64,
        "sha256_received": "0" * 64,
        "delivered": delivered,
    }
    return row | changes


def make_scores(test: Sequence[float], window_s: int = 60, threshold: float = 3.0, calibrate: int = 60) -> pd.DataFrame:
    """A score table: `calibrate` zeros a day before, then one window per test score."""
    score = np.r_[np.zeros(calibrate), np.asarray(test, dtype=float)]
    before = T0 - 86_400 + window_s * np.arange(calibrate)
    return pd.DataFrame(
        {
            "window_s": window_s,
            "window_start": np.r_[before, T0 + window_s * np.arange(len(test))].astype(np.int64),
            "recording": ["calibrate"] * calibrate + ["test"] * len(test),
            "score": score,
            "p_value": 1.0 / (1.0 + np.maximum(score, 0.0)),
            "threshold": threshold,
            "alert": np.r_[np.zeros(calibrate, dtype=bool), np.asarray(test, dtype=float) > threshold],
        }
    )


def make_alerts(scores: pd.DataFrame, path: Sequence[str] = (), **changes: Any) -> list[dict[str, Any]]:
    """One alert per alerting test window."""
    rows = scores[scores["alert"] & (scores["recording"] == "test")]
    base = {"path": list(path), "reasons": [], "bytes_estimate": None, "bytes_low": None, "bytes_high": None}
    return [
        base | {"ts": int(r.window_start), "window_s": int(r.window_s), "score": float(r.score)} | changes
        for r in rows.itertuples()
    ]


def make_metrics(
    scores: pd.DataFrame,
    truth: Sequence[Mapping[str, Any]] | None,
    alerts: Sequence[Mapping[str, Any]] | None = None,
    **changes: Any,
) -> dict[str, Any]:
    return evaluate(scores, make_alerts(scores) if alerts is None else alerts, truth, make_spec(**changes), 60, 7)


def leaky_scores(level: float = 5.0, others: Mapping[int, float] | None = None) -> list[float]:
    """180 test scores: 0 while benign, `level` in the ten windows (60 … 69) of the leak, and `others` by position."""
    out = [0.0] * 60 + [level] * 10 + [0.0] * 110
    for position, value in (others or {}).items():
        out[position] = value
    return out
