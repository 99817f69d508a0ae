"""The blind-spot map of a run: what could leave over each path without an alert, worst first."""

from __future__ import annotations

from typing import Any

from mimir.files import read_json
from mimir.report.load import RunFiles
from mimir.report.tables import short
from mimir.units import format_bytes, format_duration

MOST_ROWS = 20


def blind_spot_table(run: RunFiles) -> dict[str, Any] | None:
    """Rows and how many are hidden; None where the detector states nothing (no detector/w<seconds>/blind_spots.json)."""
    path = run.folder / "detector" / f"w{run.primary_s}" / "blind_spots.json"
    if not path.exists():
        return None
    rows = read_json(path)
    if not rows:
        return None
    shown = [
        {
            "path": " → ".join(short(node) for node in row["path"]),
            "sigma": _bytes(row["sigma_bytes"]),
            "small": _bytes(row["rate_small_messages"]),
            "large": _bytes(row["rate_large_messages"]),
            "after": format_duration(row["sum_s"]) if row["sum_s"] else "–",
        }
        for row in rows[:MOST_ROWS]
    ]
    return {"rows": shown, "hidden": max(0, len(rows) - MOST_ROWS), "budget": run.metrics.get("alerts_per_day")}


def _bytes(value: float | None) -> str:
    return "–" if value is None else format_bytes(value)
