"""Floor: how many distinct edges carried a packet. A method that does not beat it has only counted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from mimir.detectors.base import Reason, Scores
from mimir.detectors.columns import columns_of, keys_from_json, keys_to_json
from mimir.detectors.parameters import Parametrised
from mimir.detectors.pods import present
from mimir.flows.edges import EdgeKey, EdgeSeries, Window

SHOWN = 3  #: edges named by `explain`
RARE = 0.5  #: edges used in fewer windows of training than this share are worth naming


class EdgeCount(Parametrised):
    """Score = number of distinct edges (client service, server service, port, protocol) with at least one packet.

    Training only tells `explain` in what share of the windows each edge was used.

    Source: Mimir; the edge count of a graph is the simplest of the graph distances compared by Shoubridge et al. 2002
    Family: floor
    Supervised: no
    Needs: packets
    Complexity: O(T E) to fit and to score
    Limits: counts edges, not bytes; blind to every leak over edges that are in use anyway
    """

    name = "edge_count"

    def __init__(self) -> None:
        self._used: dict[EdgeKey, float] | None = None

    def fit(self, benign: EdgeSeries) -> Self:
        """Learn the share of windows in which each edge is used."""
        columns, used = columns_of(benign), _used(benign)
        share = used.mean(axis=0) if len(used) else np.zeros(used.shape[1])
        self._used = {key: float(s) for key, s in zip(columns.keys, share, strict=True)}
        return self

    def score(self, windows: EdgeSeries) -> Scores:
        """Edges in use; an edge of the series contributes its share of 1."""
        self.require(self._used is not None)
        used, columns = _used(windows), columns_of(windows)
        parts = columns.spread(used, _packets(windows))
        return Scores(windows.window_s, windows.window_start, used.sum(axis=1), windows.edges, parts)

    def explain(self, window: Window) -> list[Reason]:
        """The edges in use that training used least, at most SHOWN, none that it used in most windows."""
        self.require(self._used is not None)
        known, columns = self._used or {}, columns_of(window.series)
        row = _used(window.series)[window.index]
        share = np.array([known.get(key, 0.0) for key in columns.keys])
        order = [int(i) for i in np.argsort(share, kind="stable") if row[i] and share[i] < RARE]
        return [self._reason(present(columns.keys[i], window.series, window.index), share[i]) for i in order[:SHOWN]]

    def _reason(self, edge: EdgeKey, share: float) -> Reason:
        text = f"{edge.client} → {edge.server}:{edge.server_port} is in use, in training in {share:.1%} of the windows"
        return Reason(self.name, text, edge.client, edge.server, edge.server_port, 1.0, float(share), "edges")

    def state(self) -> Mapping[str, Any]:
        """Edges and the share of windows in which they were used."""
        self.require(self._used is not None)
        used = self._used or {}
        return {"edges": keys_to_json(tuple(used)), "used": np.array(list(used.values()))}

    def load_state(self, state: Mapping[str, Any]) -> Self:
        """The reverse of `state`."""
        self._used = dict(zip(keys_from_json(state["edges"]), map(float, state["used"]), strict=True))
        return self


def _packets(series: EdgeSeries) -> NDArray[np.float64]:
    return series.dense("request_packets") + series.dense("response_packets")


def _used(series: EdgeSeries) -> NDArray[np.float64]:
    """(T, C) 1.0 where a column carried a packet."""
    return (columns_of(series).fold(_packets(series)) > 0).astype(np.float64)
