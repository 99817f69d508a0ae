"""How long must an allow-list learn? Benign windows that break it, against the length of training."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from mimir.detectors.allowlist import Allowlist
from mimir.detectors.columns import canonical, total_bytes
from mimir.detectors.novelty import novel_edges
from mimir.flows.edges import EdgeSeries
from mimir.units import DAY_S


@dataclass(frozen=True)
class ColdStart:
    """One length of training: what it allowed, and which benign windows afterwards broke it."""

    training_s: int
    allowed: int  #: edges
    windows: int  #: benign windows judged
    violations: int  #: of them with any byte on an edge that is not allowed
    new_edges: int  #: distinct edges (by service) that broke it

    @property
    def rate(self) -> float:
        """Share of benign windows that break the list."""
        return self.violations / self.windows if self.windows else float("nan")

    def per_day(self, window_s: int) -> float:
        """False alerts a day, if every violation is an alert."""
        return self.rate * DAY_S / window_s


def lengths_of(windows: int) -> tuple[int, ...]:
    """1, 2, 5, 10, 20, 50 … and all windows.

    >>> lengths_of(60)
    (1, 2, 5, 10, 20, 50, 60)
    """
    steps = (base * 10**power for power in range(len(str(windows))) for base in (1, 2, 5))
    return tuple(dict.fromkeys([*(s for s in steps if s < windows), windows]))


def cold_start(training: EdgeSeries, benign: EdgeSeries, lengths: Sequence[int] | None = None) -> Iterator[ColdStart]:
    """Train on the first windows of one benign series, judge all of another."""
    bytes_ = total_bytes(benign)
    for length in lengths or lengths_of(len(training)):
        detector = Allowlist().fit(first(training, length))
        new = novel_edges(benign, detector.allowed) > 0
        broken = bytes_[:, new]
        used = np.flatnonzero(new)[broken.any(axis=0)]
        names = {canonical(benign.edges[i], benign.workloads) for i in used}
        yield ColdStart(
            length * training.window_s, len(detector.allowed), len(benign), int(broken.any(axis=1).sum()), len(names)
        )


def first(series: EdgeSeries, windows: int) -> EdgeSeries:
    """The first windows of a series."""
    table = series.table[series.table["window"] < windows]
    pods = first(series.pods, windows) if series.pods else None
    return replace(series, window_start=series.window_start[:windows], table=table, pods=pods, _dense={})
