"""Floor: payload bytes going to the outside. A method that does not beat it has learned nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import numpy as np

from mimir.detectors.base import Reason, Scores
from mimir.detectors.columns import canonical, columns_of, keys_from_json, keys_to_json, outward_payload
from mimir.detectors.parameters import Parametrised
from mimir.flows.edges import EdgeKey, EdgeSeries, Window, is_outside
from mimir.units import format_bytes

SHOWN = 3  #: edges named by `explain`


class EgressVolume(Parametrised):
    """Score = Σ payload bytes outwards per window.

    Replies count on connections opened from outside, requests on connections opened to the outside.
    Training only tells `explain` what is usual on each edge (mean bytes a window).

    Source: Mimir; volume thresholds of data loss prevention
    Family: floor
    Supervised: no
    Needs: bytes
    Complexity: O(T E) to fit and to score
    Limits: follows the load, so a leak must exceed the daily swing to be seen
    """

    name = "egress_volume"

    def __init__(self) -> None:
        self._usual: dict[EdgeKey, float] | None = None

    def fit(self, benign: EdgeSeries) -> Self:
        """Learn mean outward bytes a window, per edge."""
        columns = columns_of(benign)
        mean = columns.fold(outward_payload(benign)).mean(axis=0) if len(benign) else np.zeros(len(columns.keys))
        self._usual = {
            k: float(m) for k, m in zip(columns.keys, mean, strict=True) if is_outside(k.client) or is_outside(k.server)
        }
        return self

    def score(self, windows: EdgeSeries) -> Scores:
        """Outward payload bytes; contributions are the bytes of each edge."""
        self.require(self._usual is not None)
        out = outward_payload(windows)
        return Scores(windows.window_s, windows.window_start, out.sum(axis=1), windows.edges, out)

    def explain(self, window: Window) -> list[Reason]:
        """The edges that sent most to the outside, above what they sent in training."""
        self.require(self._usual is not None)
        usual = self._usual or {}
        row = outward_payload(window.series)[window.index]
        expected = np.array([usual.get(canonical(k, window.series.workloads), 0.0) for k in window.series.edges])
        order = np.argsort(-(row - expected), kind="stable")[:SHOWN]
        return [_reason(self.name, window.series.edges[i], row[i], expected[i]) for i in order if row[i] > 0]

    def state(self) -> Mapping[str, Any]:
        """Outside edges and their mean bytes."""
        self.require(self._usual is not None)
        usual = self._usual or {}
        return {"edges": keys_to_json(tuple(usual)), "usual_bytes": np.array(list(usual.values()))}

    def load_state(self, state: Mapping[str, Any]) -> Self:
        """The reverse of `state`."""
        self._usual = dict(zip(keys_from_json(state["edges"]), map(float, state["usual_bytes"]), strict=True))
        return self


def _reason(name: str, edge: EdgeKey, observed: float, expected: float) -> Reason:
    source, sink = (edge.client, edge.server) if is_outside(edge.server) else (edge.server, edge.client)
    usual = f"usual is {format_bytes(expected)} a window"
    text = f"{source} sent {format_bytes(observed)} to {sink} on port {edge.server_port}; {usual}"
    excess = max(0.0, float(observed - expected))
    return Reason(
        name, text, edge.client, edge.server, edge.server_port, float(observed), float(expected), "bytes",
        path=(source, sink), bytes_estimate=excess, technique="T1041",
    )  # fmt: skip
