"""What really happened: incidents of the ledger, and the bytes each one delivered inside each window."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mimir.errors import MimirError

#: while bytes flow the ledger has a point at least this often: what a later point adds flowed in that time before it
POINT_EVERY_S = 10.0
#: `path_class` of ledger rows that are no leaks but benign events worth watching (`benign:scale_out`)
BENIGN = "benign:"


@dataclass(frozen=True)
class Incident:
    """One leak (or one benign event) of the ledger. Times are UTC epoch seconds."""

    name: str
    path_class: str
    technique: str
    path: tuple[str, ...]
    start: float
    end: float
    bytes_delivered: float
    times: NDArray[np.float64] = field(repr=False)  #: (N,) knots of the delivery curve, ascending
    cumulative: NDArray[np.float64] = field(repr=False)  #: (N,) bytes delivered up to each knot

    def delivered_until(self, ts: NDArray[np.float64]) -> NDArray[np.float64]:
        """Bytes that had arrived outside at each time, same shape as `ts`."""
        return np.interp(ts, self.times, self.cumulative, left=0.0)

    def delivered_in(self, starts: NDArray[np.int64], window_s: int) -> NDArray[np.float64]:
        """Bytes delivered inside each window [start, start + window_s), same shape as `starts`."""
        begin = starts.astype(np.float64)
        return self.delivered_until(begin + window_s) - self.delivered_until(begin)


def read_ledger(rows: Iterable[Mapping[str, Any]], recording: str = "test") -> tuple[list[Incident], list[Incident]]:
    """(leaks, benign events) of one recording, each by start time.

    Raises MimirError when a row of truth.jsonl contradicts itself or lacks a field.
    """
    found = sorted((_incident(r) for r in rows if r["recording"] == recording), key=lambda i: (i.start, i.name))
    leaks = [i for i in found if not i.path_class.startswith(BENIGN)]
    return leaks, [i for i in found if i.path_class.startswith(BENIGN)]


def _incident(row: Mapping[str, Any]) -> Incident:
    name = str(row.get("incident", "?"))
    try:
        start, end, total = float(row["start"]), float(row["end"]), float(row["bytes_delivered"])
        points = [(float(ts), float(count)) for ts, count in row["delivered"]]
        path_class, technique, path = str(row["path_class"]), str(row["technique"]), tuple(map(str, row["path"]))
    except (KeyError, TypeError, ValueError) as error:
        raise MimirError(f"truth.jsonl, incident {name}: missing or unreadable field ({error!r}); "
                         "see docs/concepts/run-directory.md for its fields") from error  # fmt: skip
    if end < start:
        raise MimirError(f"truth.jsonl, incident {name}: ends before it starts ({end} < {start})")
    times, cumulative = _curve(name, start, end, total, points)
    return Incident(name, path_class, technique, path, start, end, total, times, cumulative)


def _curve(
    name: str, start: float, end: float, total: float, points: list[tuple[float, float]]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Knots of the delivery curve: straight between points, but never spread over a pause (see POINT_EVERY_S)."""
    if not points:  # a ledger from elsewhere: all that is known is when it began and ended
        points = [(end, total)]
        start_of_flow = start
    else:
        start_of_flow = max(start, points[0][0] - POINT_EVERY_S)
    knots = [(min(start_of_flow, points[0][0]), 0.0)]
    for ts, count in points:
        before, had = knots[-1]
        if ts < before or count < had:
            raise MimirError(f"truth.jsonl, incident {name}: `delivered` must not go back (at {ts}: {count} bytes)")
        if ts - before > POINT_EVERY_S and len(knots) > 1:
            knots.append((ts - POINT_EVERY_S, had))
        knots.append((ts, count))
    if abs(knots[-1][1] - total) > 0.5:
        raise MimirError(f"truth.jsonl, incident {name}: bytes_delivered is {total:.0f}, "
                         f"but the last point of `delivered` says {knots[-1][1]:.0f}")  # fmt: skip
    curve = np.asarray(knots, dtype=np.float64)
    return curve[:, 0], curve[:, 1]
