"""How much load there is at a time: a profile of any length or a series from a file, plus bursts."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mimir.load.series import Series, read_series
from mimir.spec.load import BurstSpec, LoadSpec

Floats = NDArray[np.float64]

SPREAD_S = 10.0  # s before a step in which the load changes: users come one by one, not all in one second
REAL_DAY_S = 86_400
MARKS_S = 10.0  # s between the rows of a series that are noted in a timeline, at least


@dataclass(frozen=True)
class Curve:
    """A periodic quantity, straight between its knots."""

    x: Floats  # first 0, last the period
    y: Floats
    marks: Floats  # the x at which values of the profile or the series stand
    scale: float  # units of x in `per_s` seconds
    per_s: float
    bursts: tuple[BurstSpec, ...]  # `adds` in the unit of y
    day_s: float
    days: int

    def at(self, offset_s: ArrayLike) -> Floats:
        """Value at seconds since the beginning of a recording (negative: before it)."""
        offset = np.asarray(offset_s, dtype=np.float64)
        value = np.interp(offset * self.scale / self.per_s % self.x[-1], self.x, self.y)
        for burst in self.bursts:
            since = (offset / self.day_s - burst.at) % self.days
            value = value + burst.adds * np.minimum(since / burst.rise, np.exp(-(since - burst.rise) / burst.decay))
        return np.asarray(value, dtype=np.float64)

    @property
    def most(self) -> float:
        """An upper bound of the value."""
        return float(self.y.max()) + sum(burst.adds for burst in self.bursts)

    def marks_s(self, begin_s: float, end_s: float) -> list[float]:
        """Offsets in [begin_s, end_s) at which values of the profile or the series stand."""
        period, unit_s = float(self.x[-1]), self.per_s / self.scale
        first, last = math.floor(begin_s / unit_s / period), math.ceil(end_s / unit_s / period)
        times = [(float(mark) + k * period) * unit_s for k in range(first, last) for mark in self.marks]
        return [time for time in times if begin_s <= time < end_s]


def curve_of(load: LoadSpec, peak: float | None) -> Curve:
    """The load's curve where 100 % of the profile, or the greatest value of the series, is `peak`.

    Without a peak the values of the series stand as they are. Raises SeriesError.
    """
    if load.series is not None:
        return _replayed(load, read_series(load.series), peak)
    assert peak is not None
    steps = np.asarray(load.profile, dtype=np.float64) * peak / 100.0
    count, period_s = len(steps), load.day_s * load.days
    knots = np.arange(count + 1, dtype=np.float64)
    marks, values = knots[:-1], np.append(steps, steps[0])
    if load.interpolation == "step":
        knots, values = _stairs(knots, values, min(SPREAD_S * count / period_s, 0.5))
    return Curve(knots, values, marks, count, period_s, _bursts(load, peak), load.day_s, load.days)


def _replayed(load: LoadSpec, series: Series, peak: float | None) -> Curve:
    top = float(series.value.max())
    factor = 1.0 if peak is None else peak / top
    first = series.time_s - series.time_s[0]
    knots, values = np.append(first, series.period_s), np.append(series.value, series.value[0]) * factor
    if load.interpolation == "step":
        spread = min(SPREAD_S * REAL_DAY_S / load.day_s, 0.5 * float(np.diff(knots).min()))
        knots, values = _stairs(knots, values, spread)
    bursts = _bursts(load, top if peak is None else peak)
    marks = first[np.unique(first * load.day_s / REAL_DAY_S // MARKS_S, return_index=True)[1]]
    return Curve(knots, values, marks, REAL_DAY_S, load.day_s, bursts, load.day_s, load.days)


def _stairs(knots: Floats, values: Floats, spread: float) -> tuple[Floats, Floats]:
    """Each value is held until `spread` before the next knot."""
    held = np.stack([knots[:-1], knots[1:] - spread], axis=1).ravel()
    return np.append(held, knots[-1]), np.append(np.repeat(values[:-1], 2), values[-1])


def _bursts(load: LoadSpec, peak: float) -> tuple[BurstSpec, ...]:
    return tuple(BurstSpec(b.at, b.adds * peak / 100.0, b.rise, b.decay) for b in load.bursts)


def users_at(load: LoadSpec, offset_s: ArrayLike) -> Floats:
    """Wanted population (not rounded) at seconds since the beginning of a recording; values stand at step starts.

    Between two steps it is linear, and the last step leads over to the first of the next period. Where only
    `sessions_per_min` is given, sessions a minute stand in for users.
    """
    return curve_of(load, load.users if load.users is not None else load.sessions_per_min).at(offset_s)


def most_users(load: LoadSpec) -> int:
    """Most users a closed population can have at a time."""
    return math.ceil(curve_of(load, load.users).most)
