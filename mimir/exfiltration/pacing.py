"""When within an incident its messages leave: a weight over time, turned into times by its inverse distribution."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from mimir.errors import Problem
from mimir.spec.exfiltration import ExfiltrationSpec, ShapeSpec
from mimir.units import DAY_S, NS_PER_S

Floats = NDArray[np.float64]
#: seconds since the recording began → users present then (same shape)
Activity = Callable[[Floats], Floats]

EVEN = ("constant", "jitter", "adaptive")  #: equal slots, planned without weights
FOLLOW_LOAD = ("night", "mimicry")  #: cannot be planned without an Activity
LEAST_NIGHT = 0.1  #: share of a night incident that must lie in low hours
LEAST_ON_SHARE = 0.01
_CELLS_AT_LEAST = 1000


def weights(
    pacing: str,
    shape: ShapeSpec,
    duration_s: float,
    offset_s: float,
    activity: Activity | None,
    random: np.random.Generator,
) -> Floats:
    """(C,) relative rate in C equal cells (≤ 1 s) of an incident that begins `offset_s` after its recording.

    ValueError for a pacing that follows the load when no activity is given, or an unknown one.
    """
    cells = max(_CELLS_AT_LEAST, int(np.ceil(duration_s)))
    edges_s = np.linspace(0.0, duration_s, cells + 1)
    centre_s = (edges_s[:-1] + edges_s[1:]) / 2
    if pacing == "ramp":
        return centre_s
    if pacing in ("burst", "on_off"):
        period_s = min(shape.period_s, duration_s)
        cycle, phase_s = np.floor(centre_s / period_s).astype(np.int64), centre_s % period_s
        on_s = shape.on_share * period_s
        begin_s = (
            random.random(int(cycle[-1]) + 1) * (period_s - on_s) if pacing == "burst" else np.zeros(cycle[-1] + 1)
        )
        return np.asarray((phase_s >= begin_s[cycle]) & (phase_s < begin_s[cycle] + on_s), dtype=np.float64)
    if pacing not in FOLLOW_LOAD:
        raise ValueError(f"unknown pacing {pacing!r}")
    if activity is None:
        raise ValueError(f"pacing {pacing} needs the load of the recording")
    users = activity(offset_s + edges_s)
    if pacing == "mimicry":
        return (users[:-1] + users[1:]) / 2
    return np.asarray(np.maximum(users[:-1], users[1:]) <= night_level(shape, activity), dtype=np.float64)


def night_level(shape: ShapeSpec, activity: Activity) -> float:
    """Users at or below which it is night: a share of the most users of the first 24 h."""
    return shape.night_users_share * float(activity(np.arange(0.0, DAY_S, 10.0)).max())


def times_ns(weight: Floats, count: int, duration_s: float, random: np.random.Generator) -> NDArray[np.int64]:
    """(count,) rising times in [0, duration) with density `weight`: message i anywhere in the i-th `count`-th of it.

    No time falls into a cell of weight 0. ValueError when all weights are.

    >>> bool(times_ns(np.array([0.0, 1.0]), 4, 2.0, np.random.default_rng(1)).min() >= 1_000_000_000)
    True
    """
    total = float(weight.sum())
    if not total > 0:
        raise ValueError("there is no moment at which this pacing may send")
    cell_ns = duration_s * NS_PER_S / len(weight)
    before = np.concatenate([[0.0], np.cumsum(weight)[:-1]])
    wanted = (np.arange(count) + random.random(count)) / count * total
    cell = np.minimum(np.searchsorted(before, wanted, side="right") - 1, int(np.flatnonzero(weight)[-1]))
    inside = np.clip((wanted - before[cell]) / weight[cell], 0.0, 1.0 - 1e-9)
    limit = int(duration_s * NS_PER_S) - 1
    return np.asarray(np.minimum(np.floor((cell + inside) * cell_ns), limit), dtype=np.int64)


def shape_problem(spec: ExfiltrationSpec) -> Problem | None:
    """What keeps the shape of the chosen pacing from making sense, if anything."""
    shape, where = spec.shape, f"set it in conf/exfiltration/{spec.name}.yaml or on the command line"
    if spec.pacing in ("burst", "on_off"):
        if not LEAST_ON_SHARE <= shape.on_share <= 1:
            got = f"is out of range (got {shape.on_share:g})"
            return Problem("exfiltration.shape.on_share", got, f"{LEAST_ON_SHARE:g} … 1", where)
        if not shape.period_s * shape.on_share >= 1:
            got = f"leaves {shape.period_s * shape.on_share:g} s of sending in a cycle of {shape.period_s:g} s"
            return Problem("exfiltration.shape.period_s", got, f"≥ {1 / shape.on_share:g} s", where)
    if spec.pacing == "night" and not 0 < shape.night_users_share < 1:
        got = f"is out of range (got {shape.night_users_share:g})"
        return Problem("exfiltration.shape.night_users_share", got, "above 0 … below 1", where)
    if spec.pacing == "adaptive" and not 0 < shape.sigmas < float("inf"):
        return Problem("exfiltration.shape.sigmas", f"must be > 0 (got {shape.sigmas:g})", "> 0, e.g. 1", where)
    return None


def night_problem(spec: ExfiltrationSpec, duration_s: float, activity: Activity) -> Problem | None:
    """What keeps a night leak from finding a night in a recording of `duration_s`, if anything."""
    if spec.pacing != "night":
        return None
    least, level = float(activity(np.arange(0.0, duration_s, 1.0)).min()), night_level(spec.shape, activity)
    if least <= level:
        return None
    got = f"is night, but the test recording never has fewer than {least:.0f} users (it is night at {level:.0f})"
    hint = "set a longer evaluation.test_s, load=normal, or a larger exfiltration.shape.night_users_share"
    return Problem("exfiltration.pacing", got, "a load with low hours", hint)
