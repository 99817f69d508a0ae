"""metrics.json of the sample run directory, derived from its scores and its ledger."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

NO_INCIDENTS = "no incidents in the test recording"


def measure(value: float | None, reason: str = "", spread: float = 0.1) -> dict[str, Any]:
    """A measure as in metrics.json; null with a reason when `value` is None."""
    if value is None:
        return {"value": None, "low": None, "high": None, "reason": reason}
    return {
        "value": float(value),
        "low": float(value * (1 - spread)),
        "high": float(value * (1 + spread) if value > 1 else min(1.0, value * (1 + spread))),
        "reason": None,
    }


def sample_metrics(
    scores: pd.DataFrame, truth: list[dict[str, Any]], spec: dict[str, Any], edges: int
) -> dict[str, Any]:
    """The whole of metrics.json."""
    windows, curves, incidents = {}, {}, []
    lengths = spec["detector"]["windows_s"]
    for window_s in lengths:
        chosen = scores[scores["window_s"] == window_s]
        test = chosen[chosen["recording"] == "test"].reset_index(drop=True)
        starts = test["window_start"].to_numpy()
        positive = np.zeros(len(test), dtype=bool)
        for row in truth:
            positive |= (starts < row["end"]) & (starts + window_s > row["start"])
        rows = [_incident(row, test, window_s) for row in truth]
        incidents += rows
        curves[str(window_s)] = _curves(test["score"].to_numpy(), positive)
        windows[str(window_s)] = {
            "threshold": _threshold(chosen, window_s, spec["evaluation"]["alerts_per_day"]),
            "test": {
                "windows": len(test),
                "hours": len(test) * window_s / 3600,
                "positive_windows": int(positive.sum()),
                "excluded_windows": 0,
                "prevalence": float(positive.mean()),
            },
            "overall": _overall(test["alert"].to_numpy(), positive, rows, len(test) * window_s / 3600),
            "by_class": {"allowed_chain": _by_class(rows)} if rows else {},
        }
    return {
        "schema": 1,
        "primary_window_s": lengths[0],
        "alerts_per_day": spec["evaluation"]["alerts_per_day"],
        "confidence": spec["evaluation"]["confidence"],
        "windows": windows,
        "incidents": incidents,
        "curves": curves,
        "cost": {"windows_scored": len(scores), "edges": edges},
    }


def _threshold(chosen: pd.DataFrame, window_s: int, alerts_per_day: float) -> dict[str, Any]:
    count = int((chosen["recording"] == "calibrate").sum())
    level = alerts_per_day * window_s / 86_400
    return {
        "value": float(chosen["threshold"].iloc[0]),
        "level": level,
        "method": "tail",
        "extrapolated": True,
        "calibration_windows": count,
        "note": f"{count} calibration windows cannot support a level of {level:.2g}",
    }


def _incident(row: dict[str, Any], test: pd.DataFrame, window_s: int) -> dict[str, Any]:
    inside = test[
        (test["window_start"] < row["end"]) & (test["window_start"] + window_s > row["start"]) & test["alert"]
    ]
    first = float(inside["window_start"].iloc[0] + window_s) if len(inside) else None
    points = np.array(row["delivered"])
    lost = float(np.interp(first, points[:, 0], points[:, 1])) if first else None
    return {
        "incident": row["incident"],
        "reason": None,
        "window_s": window_s,
        "path_class": row["path_class"],
        "technique": row["technique"],
        "path": row["path"],
        "start": row["start"],
        "end": row["end"],
        "bytes_delivered": row["bytes_delivered"],
        "detected": first is not None,
        "first_alert": first,
        "delay_s": first - row["start"] if first else None,
        "bytes_before_alert": lost,
        "path_named": row["path"] if first else [],
        "path_correct": True if first else None,
    }


def _delays(rows: list[dict[str, Any]]) -> dict[str, Any]:
    found = [r for r in rows if r["detected"]]
    recall, reason = (len(found) / len(rows), "no incident was detected") if rows else (None, NO_INCIDENTS)
    delays, lost = [r["delay_s"] for r in found], [r["bytes_before_alert"] for r in found]
    right = sum(bool(r["path_correct"]) for r in found) / len(found) if found else None
    return {
        "event_recall": measure(recall, NO_INCIDENTS, 0.0),
        "undetected_share": measure(None if recall is None else 1 - recall, NO_INCIDENTS, 0.0),
        "delay_median_s": measure(float(np.median(delays)) if found else None, reason),
        "delay_p90_s": measure(float(np.quantile(delays, 0.9)) if found else None, reason),
        "bytes_before_alert_median": measure(float(np.median(lost)) if found else None, reason),
        "path_top1": measure(right, reason, 0.0),
        "path_top3": measure(right, reason, 0.0),
    }


def _by_class(rows: list[dict[str, Any]]) -> dict[str, Any]:
    return _delays(rows) | {"incidents": len(rows)}


def _overall(
    alert: NDArray[np.bool_], positive: NDArray[np.bool_], rows: list[dict[str, Any]], hours: float
) -> dict[str, Any]:
    hit, false = int((alert & positive).sum()), int((alert & ~positive).sum())
    some = bool(positive.any())
    precision = hit / (hit + false) if some and hit + false else None
    recall = hit / int(positive.sum()) if some else None
    f1 = 2 * hit / (2 * hit + false + int((~alert & positive).sum())) if some else None
    values = {
        "precision": precision,
        "recall": recall,
        "f1": f1,
        "oracle_f1": f1,
        "average_precision": recall,
        "auroc": recall,
        "precision_monthly": precision,
    }
    return _delays(rows) | {
        "false_positive_rate": measure(false / int((~positive).sum())),
        "false_alerts_per_day": measure(false / hours * 24),
        **{name: measure(value, NO_INCIDENTS if not some else "no alert was raised") for name, value in values.items()},
    }


def _curves(score: NDArray[np.float64], positive: NDArray[np.bool_]) -> dict[str, Any]:
    if not positive.any():
        return {"roc": None, "precision_recall": None}
    order = np.argsort(-score, kind="stable")
    hits, misses = np.cumsum(positive[order]), np.cumsum(~positive[order])
    pick = np.unique(np.linspace(0, len(score) - 1, 150).astype(int))
    roc = np.stack([misses / misses[-1], hits / hits[-1]], axis=1)[pick]
    curve = np.stack([hits / hits[-1], hits / (hits + misses)], axis=1)[pick]
    return {"roc": [[0.0, 0.0], *roc.tolist()], "precision_recall": curve.tolist()}
