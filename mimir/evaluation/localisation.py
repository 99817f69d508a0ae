"""Which path and how many bytes an alert claims, compared with the ledger."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mimir.evaluation.measure import Measure, measure, undefined

#: size measures of this module, in the order they are printed
SIZE_MEASURES = ("size_error_median", "size_coverage")


def named_paths(alert: Mapping[str, Any]) -> tuple[tuple[str, ...], ...]:
    """Paths an alert names, most likely first: its own, then those of its reasons; each once."""
    candidates = [alert.get("path") or (), *(r.get("path") or () for r in alert.get("reasons") or ())]
    return tuple(dict.fromkeys(tuple(map(str, p)) for p in candidates if p))


def same_path(named: Sequence[str], true: Sequence[str]) -> bool:
    """True when both paths visit the same places in the same order. A bare `outside` stands for any outside name.

    >>> same_path(["user-db", "user", "outside"], ["user-db", "user", "outside:203.0.113.9"])
    True
    >>> same_path(["user-db", "outside:203.0.113.9"], ["user-db", "user", "outside:203.0.113.9"])
    False
    """
    return len(named) == len(true) and all(map(_same_place, named, true))


def _same_place(a: str, b: str) -> bool:
    return a == b or ("outside" in (a, b) and all(n.split(":", 1)[0] == "outside" for n in (a, b)))


def size_measures(alerts: Sequence[Mapping[str, Any]], delivered: Sequence[float]) -> dict[str, Measure]:
    """How well alerts in leaking windows size the leak: one alert and the bytes delivered in its window per position.

    `size_error_median` is the median of |estimate − delivered| / delivered; `size_coverage` the share of intervals that
    hold the truth. Alerts without an estimate (without an interval) are left out.
    """
    pairs = [(a, true) for a, true in zip(alerts, delivered, strict=True) if true > 0]
    errors = [abs(a["bytes_estimate"] - true) / true for a, true in pairs if a.get("bytes_estimate") is not None]
    inside = [
        a["bytes_low"] <= true <= a["bytes_high"]
        for a, true in pairs
        if a.get("bytes_low") is not None and a.get("bytes_high") is not None
    ]
    absent = undefined("no alert in a leaking window" if not pairs else "the detector does not size the leak")
    return {
        "size_error_median": measure(float(np.median(errors))) if errors else absent,
        "size_coverage": measure(sum(inside) / len(inside)) if inside else absent,
    }
