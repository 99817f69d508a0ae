"""I2, service-address mediation: where services are called by their address, pod-to-pod traffic past it is a violation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from mimir.detectors.base import Reason
from mimir.detectors.columns import Columns, canonical, columns_of, keys_from_json, keys_to_json, place, total_bytes
from mimir.detectors.invariants.tails import surprise_of_bytes
from mimir.detectors.leakpaths import technique_of
from mimir.detectors.novelty import data_path
from mimir.detectors.pods import pods_behind
from mimir.flows.edges import EdgeKey, EdgeSeries, Window
from mimir.units import format_bytes

Array = NDArray[np.float64]

MOST_UNMEDIATED = 0.5  #: edges that bypass the service address with more of their bytes than this are not judged
TOLERATED_BYTES = 5_000.0  #: a window: a connection whose first packets were missed looks unmediated
OFF = "I2 is off: the training recording never showed a service address (the network plug-in hides it)"


class Mediation:
    """Bytes past the service address beyond the share and the largest amount that training showed, per edge."""

    name = "I2"

    def __init__(self) -> None:
        self.note = OFF
        self._edges: tuple[EdgeKey, ...] = ()
        self._share = self._amount = np.zeros(0)

    def fit(self, benign: EdgeSeries) -> Self:
        """Learn which edges go through the service address, and how strictly; `note` says when that is none."""
        columns = columns_of(benign)
        total, past = _totals(columns, benign)
        whole = total.sum(axis=0)
        share = np.divide(past.sum(axis=0), whole, out=np.ones(len(whole)), where=whole > 0)
        judged = share <= MOST_UNMEDIATED
        self._edges = tuple(k for k, j in zip(columns.keys, judged, strict=True) if j)
        self._share = share[judged]
        over = past[:, judged] - self._share * total[:, judged]
        self._amount = np.maximum(over.max(axis=0, initial=0.0), TOLERATED_BYTES)
        self.note = "" if self._edges else OFF
        return self

    def _excess(self, windows: EdgeSeries) -> tuple[Columns, Array]:
        """(T, columns) bytes past the service address that training does not excuse."""
        columns = columns_of(windows)
        total, past = _totals(columns, windows)
        where = place(columns.keys, self._edges)
        out = np.zeros_like(total)
        known = where >= 0
        allowed = self._share[where[known]] * total[:, known] + self._amount[where[known]]
        out[:, known] = np.maximum(past[:, known] - allowed, 0.0)
        return columns, out

    def surprise(self, windows: EdgeSeries) -> tuple[Array, Array]:
        """(T,) surprise of all excess bytes, and (T, E) of those of each edge."""
        columns, excess = self._excess(windows)
        return surprise_of_bytes(excess.sum(axis=1)), surprise_of_bytes(columns.spread(excess, total_bytes(windows)))

    def reasons(self, window: Window) -> list[Reason]:
        """One per edge that went past the service address, most bytes first."""
        columns, excess = self._excess(window.series)
        row = columns.spread(excess, total_bytes(window.series))[window.index]
        return [self._reason(window, int(i), float(row[i])) for i in np.argsort(-row, kind="stable") if row[i] > 0]

    def _reason(self, window: Window, index: int, excess: float) -> Reason:
        series, edge = window.series, window.series.edges[index]
        column = canonical(edge, series.workloads)
        usual = 1 - float(self._share[self._edges.index(column)])
        path, counter = data_path(window, index)
        text = (
            f"{edge.client} → {edge.server}:{edge.server_port} carried {format_bytes(excess)} from pod to pod past the service "
            f"address; in training {usual:.0%} went through it (I2, service-address mediation)"
        )
        span = slice(window.index, window.index + 1)
        return Reason(
            self.name, text, edge.client, edge.server, edge.server_port, excess, 0.0, "bytes",
            path=path, pods=pods_behind(series, span, column, counter, 0.0), technique=technique_of(path, edge), proto=edge.proto,
        )  # fmt: skip

    def state(self) -> Mapping[str, Any]:
        """Edges judged, their usual share past the address, the largest amount seen."""
        return {"edges": keys_to_json(self._edges), "share": self._share, "amount": self._amount, "note": self.note}

    def load_state(self, state: Mapping[str, Any]) -> Self:
        """The reverse of `state`."""
        self._edges, self.note = keys_from_json(state["edges"]), str(state["note"])
        self._share, self._amount = np.asarray(state["share"]), np.asarray(state["amount"])
        return self


def _totals(columns: Columns, series: EdgeSeries) -> tuple[Array, Array]:
    """(T, columns) IP bytes, and those that did not go through a service address."""
    total = columns.fold(total_bytes(series))
    return total, np.maximum(total - columns.sum(series, "mediated_bytes"), 0.0)
