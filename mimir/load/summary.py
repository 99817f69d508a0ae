"""What a load amounts to, in numbers: for the plan of a run and for comparing the test recording with the others."""

from __future__ import annotations

from typing import Any

import numpy as np

from mimir.load.behaviours import compile_behaviours, request_rate
from mimir.load.mixes import mix_distance, mix_of
from mimir.load.profile import curve_of
from mimir.load.sessions import arrival_curve
from mimir.spec.app import AppSpec
from mimir.spec.load import LoadSpec

POINTS = 24  # of the profile that the plan shows


def load_plan(load: LoadSpec, app: AppSpec) -> dict[str, Any]:
    """Expected load as JSON values; response times are left out. `test` compares the test recording with fit's."""
    fit, test = load.of("fit"), load.of("test")
    offsets_s = np.arange(POINTS) * load.day_s * load.days / POINTS
    users, length_s = curve_of(fit, fit.users or _peak(fit)), session_s(fit, app)
    plan: dict[str, Any] = {"arrivals": load.arrivals, "day_s": load.day_s, "days": load.days}
    if load.arrivals == "open":
        curve, per_s = arrival_curve(fit, length_s)
        plan["sessions_per_min"] = [round(60 * per_s * float(v), 2) for v in curve.at(offsets_s)]
        present = curve.most * per_s * length_s
    else:
        plan["users"] = [round(float(v)) for v in users.at(offsets_s)]
        present = users.most
    busy = length_s / (length_s + float(np.mean(app.users.pause_s))) if load.arrivals == "open" else 1.0
    plan["requests_per_min_at_peak"] = round(60 * present * request_rate(app, fit) / busy, 1)
    ratio = _peak(test) / _peak(fit)
    plan["test"] = {
        "load_ratio": round(ratio, 6),
        "mix_distance": round(mix_distance(mix_of(fit, app), mix_of(test, app)), 6),
    }
    return plan


def session_s(load: LoadSpec, app: AppSpec) -> float:
    """Expected waiting (s) in one session of the mix."""
    programs = compile_behaviours(app)
    return sum(share * programs.expected(name)[0] for name, share in mix_of(load, app).items()) or 1.0


def _peak(load: LoadSpec) -> float:
    """What 100 % stands for: sessions a minute, users, or the highest value of the series."""
    stated = load.sessions_per_min or load.users
    return float(stated) if stated else curve_of(load, None).most
