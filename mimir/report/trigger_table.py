"""Benign triggers × detectors of a comparison: false alerts while each went on, after it, and without any."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

NONE = "(no trigger)"
NOTHING = "–"


@dataclass(frozen=True)
class Tally:
    """Benign windows and false alerts in them."""

    hours: float = 0.0
    alerts: int = 0

    def with_counts(self, counts: Mapping[str, Any], window_s: int) -> Tally:
        """Plus one block of metrics.json."""
        return Tally(self.hours + counts["windows"] * window_s / 3600, self.alerts + counts["false_alerts"])

    @property
    def words(self) -> str:
        """Number of alerts, and how many an hour."""
        if not self.hours:
            return NOTHING
        return f"{self.alerts} ({self.alerts / self.hours:.3g} an hour)" if self.alerts else "0"


def trigger_lines(runs: Sequence[tuple[str, Mapping[str, Any]]]) -> tuple[list[str], list[list[str]]]:
    """(heading, rows): for each kind and detector false alerts during and after, over all runs at their primary window.

    `runs` are (detector, metrics.json). The last row is what the same runs show without a trigger. Empty without any.
    """
    detectors = list(dict.fromkeys(detector for detector, _ in runs))
    during: dict[tuple[str, str], Tally] = {}
    after: dict[tuple[str, str], Tally] = {}
    for detector, metrics in runs:
        window_s = int(metrics["primary_window_s"])
        block = metrics["windows"][str(window_s)]
        for kind, counts in (block.get("triggers") or {}).items():
            key = kind, detector
            during[key] = during.get(key, Tally()).with_counts(counts, window_s)
            if "after" in counts:
                after[key] = after.get(key, Tally()).with_counts(counts["after"], window_s)
        if block.get("triggers") and "undisturbed" in block:
            key = NONE, detector
            during[key] = during.get(key, Tally()).with_counts(block["undisturbed"], window_s)
    kinds = sorted({kind for kind, _ in during} - {NONE})
    if not kinds:
        return [], []
    heading = ["Trigger", *(f"{d}: {when}" for d in detectors for when in ("during", "after"))]
    rows = [
        [kind if kind == NONE else kind.replace("_", " "),
         *(cells.get((kind, d), Tally()).words for d in detectors for cells in (during, after))]
        for kind in [*kinds, NONE]
    ]  # fmt: skip
    return heading, rows
