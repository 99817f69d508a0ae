"""How many users there are at a time: a day profile of 24 steps, interpolated."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mimir.apps.change import check_triggers
from mimir.apps.check import check_mix
from mimir.errors import Problem
from mimir.spec.app import AppSpec
from mimir.spec.load import STEPS, LoadSpec


def users_at(load: LoadSpec, offset_s: ArrayLike) -> NDArray[np.float64]:
    """Wanted population (not rounded) at seconds since the beginning of a recording; step values stand at step starts.

    Between two steps it is linear, and the last step leads over to the first of the next day.
    """
    steps = np.asarray(load.profile, dtype=np.float64) * load.users / 100.0
    hours = np.asarray(offset_s, dtype=np.float64) * STEPS / load.day_s
    wanted = np.interp(hours % STEPS, np.arange(STEPS + 1), np.append(steps, steps[0]))
    return np.asarray(wanted, dtype=np.float64)


def mix_of(load: LoadSpec, app: AppSpec) -> dict[str, float]:
    """Shares of the behaviours: those of the load, else the application's usual ones."""
    return load.mix if load.mix is not None else app.users.mix


def check_load(load: LoadSpec, app: AppSpec) -> list[Problem]:
    """Problems of a load for an application; empty when it can be acted out."""
    return list(_problems(load, app))


def _problems(load: LoadSpec, app: AppSpec) -> Iterator[Problem]:
    where = f"set it in conf/load/{load.name}.yaml or on the command line"
    for key in ("users", "day_s"):
        if getattr(load, key) < 1:
            yield Problem(f"load.{key}", f"must be ≥ 1 (got {getattr(load, key)})", "1, 2 …", where)
    if len(load.profile) != STEPS or min(load.profile, default=0) < 0:
        yield Problem("load.profile", f"must be {STEPS} percentages ≥ 0 (got {len(load.profile)} values)", next=where)
    if load.pace_sigma < 0:
        yield Problem("load.pace_sigma", f"must be ≥ 0 (got {load.pace_sigma:g})", next=where)
    if not 0 <= load.pace_memory < 1:
        yield Problem("load.pace_memory", f"is out of range (got {load.pace_memory:g})", "0 … below 1", where)
    if load.mix is not None:
        yield from check_mix("load.mix", load.mix, app.users.behaviours)
    yield from check_triggers(load, app)
