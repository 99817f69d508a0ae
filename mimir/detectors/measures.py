"""Flow measures for detectors of points in a vector space: bytes of every known edge each way, bytes sent by every service."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mimir.detectors.columns import (
    aligned,
    canonical,
    columns_of,
    keys_from_json,
    keys_to_json,
    place,
    total_bytes,
)
from mimir.detectors.pods import present
from mimir.detectors.services import in_and_out, share_out
from mimir.flows.edges import EdgeKey, EdgeSeries, Window

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Measures:
    """C edges and S services known from training; M = 2 C + S measures: requests, replies, sent.

    A fixed set, so an edge unknown in training has no measure of its own: it shows in what its sender sent.
    """

    keys: tuple[EdgeKey, ...]
    services: tuple[str, ...]

    @classmethod
    def of(cls, benign: EdgeSeries) -> Measures:
        """The measures a series can give."""
        return cls(columns_of(benign).keys, in_and_out(benign)[0])

    def __len__(self) -> int:
        return 2 * len(self.keys) + len(self.services)

    def table(self, series: EdgeSeries) -> Array:
        """(T, M) bytes a window."""
        names, _, sent = in_and_out(series)
        at = {name: i for i, name in enumerate(names)}
        mine = np.zeros((len(series), len(self.services)))
        for column, service in enumerate(self.services):
            if service in at:
                mine[:, column] = sent[:, at[service]]
        both = [aligned(series, counter, self.keys) for counter in ("request_bytes", "response_bytes")]
        return np.hstack([*both, mine])

    def to_edges(self, series: EdgeSeries, parts: Array) -> Array:
        """(T, M) per measure → (T, E) per edge of the series. What an absent edge or a silent service was given is lost."""
        columns, count = columns_of(series), len(self.keys)
        where = place(columns.keys, self.keys)
        per_column = np.zeros((len(series), len(columns.keys)))
        known = where[where >= 0]
        per_column[:, where >= 0] = parts[:, known] + parts[:, count + known]
        return columns.spread(per_column, total_bytes(series)) + share_out(series, self.services, parts[:, 2 * count :])

    def edge_of(self, measure: int, window: Window) -> tuple[EdgeKey, str] | None:
        """An edge of the series that stands for a measure in this window, and the measure in words; None if there is none."""
        series, count = window.series, len(self.keys)
        if measure < 2 * count:
            key = self.keys[measure % count]
            if not any(canonical(e, series.workloads) == key for e in series.edges):
                return None
            edge = present(key, series, window.index)
            way = "requests" if measure < count else "replies"
            return edge, f"{way} on {edge.client} → {edge.server}:{edge.server_port}"
        parts = np.zeros((len(series), len(self.services)))
        parts[window.index, measure - 2 * count] = 1.0
        shares = share_out(series, self.services, parts)[window.index]
        if not shares.any():
            return None
        edge = series.edges[int(shares.argmax())]
        sender = self.services[measure - 2 * count]
        return edge, f"what {sender} sent, most of it on {edge.client} → {edge.server}:{edge.server_port},"

    def state(self) -> dict[str, Any]:
        """As JSON values."""
        return {"edges": keys_to_json(self.keys), "services": list(self.services)}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Measures:
        """The reverse of `state`."""
        return cls(keys_from_json(state["edges"]), tuple(map(str, state["services"])))
