"""I1, closed set: an application's services talk over a fixed set of edges; a new one is a violation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from mimir.detectors.base import Reason
from mimir.detectors.columns import columns_of, keys_from_json, keys_to_json, total_bytes
from mimir.detectors.invariants.tails import surprise_of_bytes
from mimir.detectors.novelty import novel_edges, novelty_reasons
from mimir.flows.edges import EdgeKey, EdgeSeries, Window

Array = NDArray[np.float64]


class ClosedSet:
    """New pair, new port, reversed initiation, new name outside."""

    name = "I1"
    note = ""

    def __init__(self) -> None:
        self._allowed: tuple[EdgeKey, ...] = ()

    def fit(self, benign: EdgeSeries) -> Self:
        """Close the set over every edge that carried a packet."""
        columns = columns_of(benign)
        used = columns.fold(total_bytes(benign)).sum(axis=0) > 0
        self._allowed = tuple(sorted(k for k, u in zip(columns.keys, used, strict=True) if u))
        return self

    def surprise(self, windows: EdgeSeries) -> tuple[Array, Array]:
        """(T,) surprise of all bytes on new edges, and (T, E) of those of each edge."""
        out = total_bytes(windows) * novel_edges(windows, self._allowed)
        return surprise_of_bytes(out.sum(axis=1)), surprise_of_bytes(out)

    def reasons(self, window: Window) -> list[Reason]:
        """One per new edge, most bytes first."""
        return novelty_reasons(window, self._allowed, self.name)

    def state(self) -> Mapping[str, Any]:
        """The closed set."""
        return {"allowed": keys_to_json(self._allowed)}

    def load_state(self, state: Mapping[str, Any]) -> Self:
        """The reverse of `state`."""
        self._allowed = keys_from_json(state["allowed"])
        return self
