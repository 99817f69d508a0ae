"""A measure: a number with its interval, or no number and the reason why."""

from __future__ import annotations

import math
from typing import TypedDict


class Measure(TypedDict):
    """`value` is null when it is not defined, and only then `reason` says why; `low` and `high` may be null."""

    value: float | None
    low: float | None
    high: float | None
    reason: str | None


def measure(value: float, low: float | None = None, high: float | None = None) -> Measure:
    """A defined measure. Raises ValueError for a number that JSON cannot hold (a bug of the caller)."""
    for number in (value, low, high):
        if number is not None and not math.isfinite(number):
            raise ValueError(f"not a finite number: {number}")
    return Measure(
        value=float(value),
        low=None if low is None else float(low),
        high=None if high is None else float(high),
        reason=None,
    )


def undefined(reason: str) -> Measure:
    """A measure that has no value."""
    return Measure(value=None, low=None, high=None, reason=reason)
