"""What detectors made of real and of simulated recordings: incidents found by rate, delay, bytes lost, false alerts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from mimir.report.fidelity_compare import MODEL, REAL
from mimir.report.fidelity_tables import markdown, number
from mimir.units import DAY_S, HOUR_S, format_bytes

QUIET = "quiet"
CHAMPION = "invariants"


def false_alerts(part: pd.DataFrame) -> tuple[int, float]:
    """(alerts on benign windows, hours they had)."""
    alerts = part.loc[part["measure"] == "false_alerts", "value"].sum()
    return int(alerts), float(part.loc[part["measure"] == "benign_days", "value"].sum() * DAY_S / HOUR_S)


def per_day(count: int, hours: float) -> str:
    """Alerts a day with the exact interval of a Poisson rate (Garwood 1936)."""
    from scipy.special import gammaincinv

    days = hours * HOUR_S / DAY_S
    low, high = (0.0 if count == 0 else float(gammaincinv(count, 0.025))), float(gammaincinv(count + 1, 0.975))
    return f"{number(count / days)} [{number(low / days)} to {number(high / days)}]"


def incidents(part: pd.DataFrame) -> dict[float, dict[str, float]]:
    """Rate → measure → value, one incident a rate."""
    of = part[(part["recording"] == "test") & (part["incident"] != "")]
    found: dict[float, dict[str, float]] = {}
    for _, row in of.iterrows():
        found.setdefault(float(row["rate_bytes_per_min"]), {})[str(row["measure"])] = float(row["value"])
    return dict(sorted(found.items(), reverse=True))


def outcome(measures: dict[str, float]) -> str:
    """`no`, or after how long and how many bytes."""
    if not measures.get("detected"):
        return "no"
    return f"{measures['delay_s']:.0f} s, {format_bytes(measures['bytes_before_alert'])}"


def claims(of: dict[float, dict[str, float]]) -> tuple[str, str]:
    """(incidents whose path was named right, of those found; median relative error of the size)."""
    found = [m for m in of.values() if m.get("detected")]
    if not found:
        return "–", "–"
    errors = [m["size_relative_error"] for m in found if "size_relative_error" in m]
    named = f"{sum(int(m.get('path_top1', 0)) for m in found)} of {len(found)}"
    return named, f"{np.median(errors) * 100:.0f} %" if errors else "–"


def real_table(verdicts: pd.DataFrame, app: str, window_s: int, detectors: Sequence[str]) -> str:
    """One row a detector: found by rate (delay, bytes lost before the first alert), path, size, false alerts."""
    part = verdicts[(verdicts["app"] == app) & (verdicts["cluster"] == REAL) & (verdicts["window_s"] == window_s)]
    if not len(part):
        return f"No recording of {app} is long enough for windows of {window_s} s."
    rates = list(incidents(part[part["detector"] == detectors[0]]))
    rows = []
    for detector in detectors:
        mine = part[part["detector"] == detector]
        of = incidents(mine)
        count, hours = false_alerts(mine)
        right, error = claims(of)
        rows.append([detector, f"{sum(bool(m.get('detected')) for m in of.values())} of {len(of)}",
                     *(outcome(of[rate]) for rate in rates), right, error, f"{count} in {hours:.1f} h", per_day(count, hours)])  # fmt: skip
    head = ["detector", "found", *(f"{format_bytes(rate)}/min" for rate in rates), "path right", "size off by", "false alerts", "a day [95 %]"]  # fmt: skip
    return markdown(head, rows)


def side_by_side(verdicts: pd.DataFrame, window_s: int, detectors: Sequence[str]) -> str:
    """One row an application and detector: the real and the simulated cluster."""
    rows = []
    for app in dict.fromkeys(verdicts["app"]):
        for detector in detectors:
            part = verdicts[
                (verdicts["app"] == app) & (verdicts["detector"] == detector) & (verdicts["window_s"] == window_s)
            ]
            if not len(part):
                continue
            row: list[str] = []
            for cluster in (REAL, MODEL):
                mine = part[part["cluster"] == cluster]
                of = incidents(mine)
                seen = [m for m in of.values() if m.get("detected")]
                lost = sum(m["bytes_before_alert"] for m in seen)
                delay = f"{np.median([m['delay_s'] for m in seen]):.0f} s" if seen else "–"
                count, hours = false_alerts(mine)
                row += [
                    f"{len(seen)} of {len(of)}",
                    delay,
                    format_bytes(lost) if seen else "–",
                    f"{count} in {hours:.1f} h",
                ]
            rows.append([f"{app} {detector}", *row])
    head = ["", *(f"{cluster}: {what}" for cluster in (REAL, MODEL) for what in ("found", "delay", "lost", "false alerts"))]  # fmt: skip
    return markdown(head, rows)


def recordings(facts: dict[str, Any], cluster: str) -> str:
    """What was recorded, and whether the load was reached."""
    rows = []
    for one in facts["recordings"]:
        if one["cluster"] != cluster:
            continue
        asked = one["requests"] or {}
        late = [f"{asked['due']:,}", str(asked["failed"]), str(asked["late"]), f"{asked['p50_ms']:.1f} · {asked['p99_ms']:.1f}"] if "due" in asked else ["–"] * 4  # fmt: skip
        rows.append([f"{one['app']} {one['recording']}", f"{one['duration_s'] / 60:.0f} min", f"{one['packets']:,}", str(one["dropped"] if one["dropped"] is not None else "–"), *late])  # fmt: skip
    return markdown(["recording", "length", "packets", "dropped", "requests due", "failed", "late", "reply p50 · p99, ms"], rows)  # fmt: skip
