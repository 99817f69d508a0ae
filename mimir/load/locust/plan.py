"""A load written down for Locust: one JSON file from which another process, or another machine, can act it out."""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from mimir.apps.calls import compile_calls
from mimir.errors import Problem, SpecError
from mimir.load.behaviours import compile_behaviours
from mimir.load.mixes import mix_of
from mimir.load.profile import curve_of
from mimir.load.real import REAL
from mimir.load.sessions import arrival_curve
from mimir.spec import Spec
from mimir.spec.app import OUTSIDE, AppSpec
from mimir.spec.load import LoadSpec

FORMAT = 1
TICK_S = 1  # how often the number of users is compared with the one wanted, as in mimir.load.walk
_METHOD = re.compile(r"[A-Z]+ /")


def locust_plan(
    spec: Spec, recording: str, seed: int, duration_s: int | None = None, *, synthetic: bool = False
) -> dict[str, Any]:
    """The load of one recording as JSON values. SpecError when the entry service does not speak HTTP.

    The steps are the rows of `mimir.load.behaviours.Programs`. `synthetic`: requests name their endpoint for the generic
    services of cluster=netns, and are filled up to the size the model draws.
    """
    app, load = spec.app, spec.load.of(recording)
    programs, shares = compile_behaviours(app), mix_of(load, app)
    edge = next((e for e in app.edges if (e.client, e.server) == (OUTSIDE, app.users.entry)), None)
    return {
        "format": FORMAT, "app": app.name, "recording": recording, "seed": seed,
        "arrivals": load.arrivals, "tick_s": TICK_S, **_wanted(load, app, duration_s or spec.recording_s(recording)),
        "pause_s": list(app.users.pause_s), "pace": {"sigma": load.pace_sigma, "memory": load.pace_memory},
        "behaviours": list(programs.behaviours), "shares": [shares.get(name, 0.0) for name in programs.behaviours],
        "first": programs.first.tolist(), "wait_s": programs.wait_s.tolist(), "request": programs.request.tolist(),
        "leave": programs.leave.tolist(), "jump": programs.jump.tolist(),
        "endpoints": _endpoints(app, synthetic), "close_each": bool(edge and edge.connection == "per_request"),
        "session": {n: {"per": v.per, "values": list(v.values)} for n, v in app.users.session.items()},
    }  # fmt: skip


def _wanted(load: LoadSpec, app: AppSpec, duration_s: int) -> dict[str, Any]:
    """At each tick the users wanted (closed), or the arrivals expected per second and the sessions there at first (open)."""
    offset_s = np.arange(0, duration_s, TICK_S)
    if load.arrivals == "closed":
        return {"wanted": np.rint(curve_of(load, load.users).at(offset_s)).astype(int).tolist()}
    programs, shares = compile_behaviours(app), mix_of(load, app)
    length_s = sum(share * programs.expected(name)[0] for name, share in shares.items()) or 1.0
    curve, per_s = arrival_curve(load, length_s)
    rates = curve.at(offset_s + TICK_S / 2) * per_s
    return {"arrivals_per_s": np.round(rates, 9).tolist(), "sessions_at_first": round(float(rates[0]) * length_s, 6)}


def _endpoints(app: AppSpec, synthetic: bool) -> list[dict[str, Any]]:
    service = app.services[app.users.entry]
    if service.protocol not in ("http", "https"):
        raise SpecError([Problem("app.users.entry", f"{app.users.entry} speaks {service.protocol}", "http, https",
                                 "Locust drives HTTP only: choose another application")])  # fmt: skip
    numbers, found = {name: i for i, name in enumerate(compile_calls(app).endpoints)}, []
    for name, endpoint in service.endpoints.items():
        method, _, path = endpoint.action.partition(" ")
        if not _METHOD.match(endpoint.action):
            method, path = "", ""  # no request of its own, e.g. a TLS handshake: the client does it by itself
        call = numbers[f"{app.users.entry}:{name}"] if synthetic else None
        real = None if synthetic else REAL.get(app.name, {}).get(name)
        found.append(
            {"name": name, "method": method, "path": path, "bytes": list(endpoint.request), "call": call, "real": real}
        )
    return found
