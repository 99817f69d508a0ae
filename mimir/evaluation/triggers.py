"""False alerts while something benign but unusual went on, and while detectors recover from it, by kind of trigger."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mimir.evaluation.intervals import proportion
from mimir.evaluation.measure import measure, undefined
from mimir.exfiltration.ledger import BENIGN, LedgerEntry
from mimir.units import HOUR_S

Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Benign:
    """Windows of one length of the test recording: (T,) each. `covered`: an incident, or the recovery from it."""

    window_s: int
    start: NDArray[np.int64]
    alert: Bools
    covered: Bools


def trigger_counts(
    windows: Benign, events: Sequence[LedgerEntry], recovery_s: float, confidence: float
) -> dict[str, Any]:
    """Kind → windows, false alerts, their rate and number an hour while it went on, and the same under `after`.

    A window is `during` a kind when it overlaps an event of it, and `after` the event that ended last before it when it
    begins less than `recovery_s` after that end and overlaps no event. Windows of incidents are left out.
    """
    overlaps = {e.incident: _overlap(windows, e) for e in events}
    free = ~windows.covered
    busy = np.any(list(overlaps.values()), axis=0) if events else np.zeros_like(free)
    last = np.full(len(windows.start), -1)
    for number, event in sorted(enumerate(events), key=lambda pair: pair[1].end):
        last[(windows.start >= event.end) & (windows.start < event.end + recovery_s)] = number
    found: dict[str, Any] = {}
    for kind in sorted({e.path_class for e in events}):
        mine = [n for n, e in enumerate(events) if e.path_class == kind]
        during = np.any([overlaps[events[n].incident] for n in mine], axis=0) & free
        after = np.isin(last, mine) & free & ~busy
        found[kind.removeprefix(BENIGN)] = _counts(windows, during, confidence) | {
            "after": _counts(windows, after, confidence)
        }
    return found


def undisturbed(windows: Benign, events: Sequence[LedgerEntry], recovery_s: float, confidence: float) -> dict[str, Any]:
    """The same counts for benign windows without any trigger, before, during or in the recovery after it."""
    quiet = ~windows.covered
    for event in events:
        quiet &= ~_overlap(windows, event)
        quiet &= ~((windows.start >= event.end) & (windows.start < event.end + recovery_s))
    return _counts(windows, quiet, confidence)


def _overlap(windows: Benign, event: LedgerEntry) -> Bools:
    overlap: Bools = (windows.start + windows.window_s > event.start) & (windows.start < event.end)
    return overlap


def _counts(windows: Benign, chosen: Bools, confidence: float) -> dict[str, Any]:
    count, wrong = int(chosen.sum()), int((chosen & windows.alert).sum())
    rate = measure(wrong / count, *proportion(wrong, count, confidence)) if count else undefined("no benign window")
    hourly = round(wrong / (count * windows.window_s / HOUR_S), 6) if count else None
    return {"windows": count, "false_alerts": wrong, "false_positive_rate": rate, "false_alerts_per_hour": hourly}
