"""Can a load be acted out? Rules for conf/load/*.yaml, every broken one reported."""

from __future__ import annotations

from collections.abc import Iterator

from mimir.apps.change import check_triggers
from mimir.errors import Problem
from mimir.load.mixes import check_mixes
from mimir.load.series import USERS, SeriesError, read_series
from mimir.spec.app import AppSpec
from mimir.spec.load import LoadSpec

_SETTLED = 5  # time constants after which a burst is taken to be over


def check_load(load: LoadSpec, app: AppSpec) -> list[Problem]:
    """Problems of a load for an application; empty when it can be acted out."""
    where = f"set it in conf/load/{load.name}.yaml or on the command line"
    return [
        *_numbers(load, where),
        *_amount(load),
        *_shape(load, where),
        *check_mixes(load, app),
        *check_triggers(load, app),
    ]


def _numbers(load: LoadSpec, where: str) -> Iterator[Problem]:
    least = {"users": load.users, "day_s": load.day_s, "days": load.days, "test.users": load.test.users}
    for key, value in least.items():
        if value is not None and value < 1:
            yield Problem(f"load.{key}", f"must be ≥ 1 (got {value})", "1, 2 …", where)
    rates = {"sessions_per_min": load.sessions_per_min, "test.sessions_per_min": load.test.sessions_per_min}
    for key, rate in rates.items():
        if rate is not None and rate <= 0:
            yield Problem(f"load.{key}", f"must be > 0 (got {rate:g})", "e.g. 30, or null", where)
    if load.pace_sigma < 0:
        yield Problem("load.pace_sigma", f"must be ≥ 0 (got {load.pace_sigma:g})", next=where)
    if not 0 <= load.pace_memory < 1:
        yield Problem("load.pace_memory", f"is out of range (got {load.pace_memory:g})", "0 … below 1", where)


def _amount(load: LoadSpec) -> Iterator[Problem]:
    """Is it said how much, and once only?"""
    by_rate = load.sessions_per_min is not None or load.test.sessions_per_min is not None
    if load.arrivals == "closed" and by_rate:
        yield Problem(
            "load.sessions_per_min", "has no meaning for a closed population", "null", "add load.arrivals=open"
        )
    elif by_rate and load.test.users is not None:
        yield Problem("load.test.users", "has no effect where sessions_per_min says how many arrive", "null",
                      "use load.test.sessions_per_min")  # fmt: skip
    elif load.test.sessions_per_min is not None and load.sessions_per_min is None:
        yield Problem("load.test.sessions_per_min", "differs from nothing: load.sessions_per_min is null", "null",
                      "set load.sessions_per_min too, or use load.test.users")  # fmt: skip
    if load.series is None and load.name != "replay" and load.users is None and load.sessions_per_min is None:
        yield Problem("load.users", "has no value", "1, 2 …", "set it: load.users=100")


def _shape(load: LoadSpec, where: str) -> Iterator[Problem]:
    if load.series is None:
        if load.name == "replay":
            yield Problem("load.series", "has no value", "a CSV file with the columns time_s,users or time_s,rate",
                          "name it: load.series=load.csv")  # fmt: skip
        elif not load.profile or min(load.profile) < 0 or max(load.profile) <= 0:
            yield Problem(
                "load.profile", f"must be percentages ≥ 0, one of them above 0 (got {load.profile})", next=where
            )
        if load.series_sha256 is not None:
            yield Problem("load.series_sha256", "is the digest of no file", "null", "set load.series too, or remove it")
    else:
        yield from _series(load)
    for number, burst in enumerate(load.bursts):
        key = f"load.bursts[{number}]"
        if not 0 <= burst.at < load.days:
            yield Problem(f"{key}.at", f"is out of range (got {burst.at:g})", f"0 … below {load.days}", where)
        if min(burst.adds, burst.rise, burst.decay) <= 0:
            yield Problem(
                key, "must have adds, rise and decay above 0", "e.g. {at: 0.5, adds: 100, rise: 0.01, decay: 0.05}"
            )
        elif burst.rise + _SETTLED * burst.decay > load.days:
            yield Problem(key, f"lasts longer than the profile of {load.days} days",
                          f"rise + {_SETTLED} × decay ≤ {load.days}", where)  # fmt: skip


def _series(load: LoadSpec) -> Iterator[Problem]:
    assert load.series is not None
    try:
        series = read_series(load.series)
    except SeriesError as error:
        yield Problem("load.series", str(error), "a CSV file with the columns time_s,users or time_s,rate")
        return
    if load.series_sha256 not in (None, series.sha256):
        yield Problem("load.series_sha256", f"is not the digest of {load.series}, which is now {series.sha256}",
                      "null: whatever the file holds", "find the file of that run again")  # fmt: skip
    if load.users is None and load.sessions_per_min is None and series.column != USERS:
        yield Problem("load.users", f"has no value, and {load.series} has rates only", "1, 2 …",
                      "say what the highest rate stands for: load.users=100")  # fmt: skip
    if load.profile:
        yield Problem("load.profile", "cannot be combined with load.series", "[]", "use load=replay")
