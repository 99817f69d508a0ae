"""What really happened: entries of the ledger, and the bytes each one delivered inside each window."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError

from mimir.exfiltration.ledger import BENIGN, LedgerEntry, LedgerError, delivered_at


def split_ledger(
    rows: Iterable[Mapping[str, Any]], recording: str = "test"
) -> tuple[list[LedgerEntry], list[LedgerEntry]]:
    """(leaks, benign events) of one recording, each by start time, from rows of truth.jsonl.

    Raises LedgerError when a row lacks a field or contradicts itself.
    """
    entries = [entry for entry in map(_entry, rows) if entry.recording == recording]
    entries.sort(key=lambda e: (e.start, e.incident))
    leaks = [e for e in entries if not e.path_class.startswith(BENIGN)]
    return leaks, [e for e in entries if e.path_class.startswith(BENIGN)]


def delivered_in(leak: LedgerEntry, starts: NDArray[np.int64], window_s: int) -> NDArray[np.float64]:
    """Bytes a leak delivered inside each window [start, start + window_s), same shape as `starts`.

    A window that a leak covers in part holds the bytes of that part; less than half a byte counts as none.
    """
    edges = delivered_at(leak, np.stack([starts, starts + window_s]))
    bytes_in = edges[1] - edges[0]
    return np.where(bytes_in < 0.5, 0.0, bytes_in)


def covered_by(
    entries: Iterable[LedgerEntry], starts: NDArray[np.int64], window_s: int, recovery_s: int
) -> NDArray[np.bool_]:
    """Which windows touch an entry, or begin within `recovery_s` (at least a window) after it: same shape as `starts`."""
    covered = np.zeros(len(starts), dtype=np.bool_)
    for entry in entries:
        covered |= (starts + window_s > entry.start) & (starts < entry.end + max(window_s, recovery_s))
    return covered


@cache
def _adapter() -> TypeAdapter[LedgerEntry]:
    return TypeAdapter(LedgerEntry)


def _entry(row: Mapping[str, Any]) -> LedgerEntry:
    where = f"truth.jsonl, incident {row.get('incident', '?')}"
    try:
        entry = _adapter().validate_python(dict(row))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        field = ".".join(map(str, first["loc"]))
        raise LedgerError(f"{where}: {field}: {first['msg']}; see docs/concepts/run-directory.md") from None
    if entry.end < entry.start:
        raise LedgerError(f"{where}: ends before it starts ({entry.end} < {entry.start})")
    points = [(entry.start, 0), *entry.delivered]
    if any(later[0] < earlier[0] or later[1] < earlier[1] for earlier, later in pairwise(points)):
        raise LedgerError(f"{where}: `delivered` must rise in time and bytes, from the start on")
    if entry.delivered and points[-1][1] != entry.bytes_delivered:
        raise LedgerError(
            f"{where}: `delivered` ends at {points[-1][1]} bytes, bytes_delivered is {entry.bytes_delivered}"
        )
    return entry
