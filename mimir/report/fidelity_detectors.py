"""What detectors made of real and of simulated recordings: incidents found by rate, delay, bytes lost, false alerts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from mimir.report.counted import poisson_rate
from mimir.report.fidelity_compare import MODEL, REAL
from mimir.report.fidelity_tables import number
from mimir.report.markdown import markdown
from mimir.units import DAY_S, HOUR_S, format_bytes

Incident = tuple[float, dict[str, float]]  #: rate (B/min), measure → value


def false_alerts(part: pd.DataFrame) -> tuple[int, float]:
    """(alerts on benign windows, hours they had)."""
    alerts = part.loc[part["measure"] == "false_alerts", "value"].sum()
    return int(alerts), float(part.loc[part["measure"] == "benign_days", "value"].sum() * DAY_S / HOUR_S)


def per_day(count: int, hours: float) -> str:
    """Alerts a day with their exact interval."""
    days = hours * HOUR_S / DAY_S
    low, high = (float(end) for end in poisson_rate(count, days))
    return f"{number(count / days)} [{number(low)} to {number(high)}]"


def incidents(part: pd.DataFrame) -> list[Incident]:
    """Incidents of one detector, application, cluster and window length: greatest rate first, then by name."""
    of = part[(part["recording"] == "test") & (part["incident"] != "")]
    found: dict[str, Incident] = {}
    for _, row in of.iterrows():
        one = found.setdefault(str(row["incident"]), (float(row["rate_bytes_per_min"]), {}))
        one[1][str(row["measure"])] = float(row["value"])
    return [found[name] for name in sorted(found, key=lambda name: (-found[name][0], name))]


def outcome(measures: dict[str, float]) -> str:
    """`no`, or after how long and how many bytes."""
    if not measures.get("detected"):
        return "no"
    return f"{measures['delay_s']:.0f} s, {format_bytes(measures['bytes_before_alert'])}"


def claims(of: Sequence[Incident]) -> tuple[str, str]:
    """(incidents whose path was named right, of those found; median relative error of the size)."""
    found = [m for _, m in of if m.get("detected")]
    if not found:
        return "–", "–"
    errors = [m["size_relative_error"] for m in found if "size_relative_error" in m]
    named = f"{sum(int(m.get('path_top1', 0)) for m in found)} of {len(found)}"
    return named, f"{np.median(errors) * 100:.0f} %" if errors else "–"


def real_table(verdicts: pd.DataFrame, app: str, window_s: int, detectors: Sequence[str]) -> str:
    """One row a detector: found by rate (delay, bytes lost before the first alert), path, size, false alerts."""
    part = verdicts[(verdicts["app"] == app) & (verdicts["cluster"] == REAL) & (verdicts["window_s"] == window_s)]
    if not len(part):
        return f"{app} was not judged in windows of {window_s} s: its `detector.windows_s` has no such length."
    rates = list(dict.fromkeys(rate for rate, _ in incidents(part[part["detector"] == detectors[0]])))
    rows = []
    for detector in detectors:
        mine = part[part["detector"] == detector]
        of = incidents(mine)
        count, hours = false_alerts(mine)
        right, error = claims(of)
        seen = sum(bool(m.get("detected")) for _, m in of)
        by_rate = ("; ".join(outcome(m) for at, m in of if at == rate) or "–" for rate in rates)
        rows.append([detector, f"{seen} of {len(of)}", *by_rate, right, error, f"{count} in {hours:.1f} h", per_day(count, hours)])  # fmt: skip
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
                seen = [m for _, m in of if m.get("detected")]
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
