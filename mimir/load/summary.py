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
MOST_ASKED = 1440  # points of the test recording


def load_plan(load: LoadSpec, app: AppSpec, test_s: int = 0) -> dict[str, Any]:
    """Expected load as JSON values; response times are left out.

    `test` compares the test recording with fit's and, where its length `test_s` is given, says what it asks for when.
    """
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
    if test_s:
        plan["test"]["asked"] = asked(test, app, test_s)
    return plan


def asked(load: LoadSpec, app: AppSpec, duration_s: int) -> dict[str, Any]:
    """Requests a minute that a recording asks for, at even steps of `every_s` seconds; response times are left out."""
    every_s = max(60, -(-duration_s // MOST_ASKED))
    offset_s = np.arange(0, duration_s + every_s, every_s)
    if load.arrivals == "closed":
        values = np.rint(curve_of(load, load.users).at(offset_s)) * 60 * request_rate(app, load)
    else:
        curve, per_s = arrival_curve(load, session_s(load, app))
        values = curve.at(offset_s) * per_s * 60 * session_requests(load, app)
    return {"every_s": every_s, "requests_per_min": np.round(values, 2).tolist()}


def session_s(load: LoadSpec, app: AppSpec) -> float:
    """Expected waiting (s) in one session of the mix."""
    programs = compile_behaviours(app)
    return sum(share * programs.expected(name)[0] for name, share in mix_of(load, app).items()) or 1.0


def session_requests(load: LoadSpec, app: AppSpec) -> float:
    """Expected number of requests in one session of the mix."""
    programs = compile_behaviours(app)
    return sum(share * programs.expected(name)[1] for name, share in mix_of(load, app).items())


def _peak(load: LoadSpec) -> float:
    """What 100 % stands for: sessions a minute, users, or the highest value of the series."""
    stated = load.sessions_per_min or load.users
    return float(stated) if stated else curve_of(load, None).most
