"""Eigenspace method: the direction of the graph's activity turns away from its recent past (Idé & Kashima, KDD 2004)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from mimir.detectors.activity import Array, Pair, activity_vectors, typical_pattern, weights_of
from mimir.detectors.base import Reason, Scores
from mimir.detectors.columns import columns_of, total_bytes
from mimir.detectors.fisher import Moments
from mimir.detectors.parameters import Parametrised, once_a_series
from mimir.detectors.pods import present
from mimir.errors import MimirError
from mimir.flows.edges import EdgeSeries, Window
from mimir.units import format_bytes

SHOWN = 3  #: edges named by `explain`
LEAST = 1e-12  #: contributions below this are rounding


class Eigenvector(Parametrised):
    """Score = z(t) = 1 − r(t)ᵀ u(t), the cosine distance of the activity vector to the typical pattern.

    D_uv = log(1 + b_uv + b_vu) over services; u(t) is its principal eigenvector, r(t) the first left singular vector of the
    `history` activity vectors before t; windows without traffic score 0 and do not enter the past. Scoring goes on from
    the last windows of training. Since u and r have unit length, z = ½ Σ_i (u_i − r_i)², which gives each service its
    part; a service's part goes to its edges by how far their weight is from its mean in training.
    `threshold=fisher` divides z by the paper's own adaptive threshold, so 1 is its alarm: z / Σ follows χ² with n − 1 degrees
    of freedom, n (the effective dimension) and Σ from moments of z discounted by `discount`, at probability `critical`.

    Source: Idé & Kashima, KDD 2004 (activity vector, typical pattern, z, von Mises–Fisher threshold)
    Family: classical, graph
    Supervised: no
    Needs: bytes
    Complexity: O(N³) a window for N services, O(W² N) for the pattern
    Limits: the logarithm hides a leak on an edge that is busy anyway; after `history` windows a lasting leak is the typical pattern
    """

    name = "eigenvector"
    parameters = ("history", "threshold", "critical", "discount")

    def __init__(
        self, history: int = 10, threshold: str = "none", critical: float = 0.005, discount: float = 0.02
    ) -> None:
        self.history, self.threshold, self.critical, self.discount = history, threshold, critical, discount
        self._nodes: tuple[str, ...] | None = None
        self._past = np.zeros((0, 0))
        self._usual: dict[Pair, float] = {}
        self._moments = Moments(0.0, 0.0)

    def fit(self, benign: EdgeSeries) -> Self:
        """Remember the last activity vectors, mean weights and (for the threshold) moments of z.

        MimirError for parameters out of range or fewer than 2 windows.
        """
        if self.history < 1 or self.threshold not in ("none", "fisher"):
            raise MimirError(
                f"detector.history must be ≥ 1 and threshold none or fisher (got {self.history}, {self.threshold!r}); "
                "see conf/detector/eigenvector.yaml"
            )
        if not (0 < self.critical < 1 and 0 < self.discount < 1):
            raise MimirError(
                f"detector.critical and discount must lie in (0, 1) (got {self.critical}, {self.discount}); "
                "see conf/detector/eigenvector.yaml"
            )
        if len(benign) < 2:
            raise MimirError(
                f"eigenvector needs at least 2 benign windows to fit (got {len(benign)}); raise evaluation.fit_s"
            )
        pairs, weights, _ = weights_of(benign)
        self._nodes = tuple(sorted({node for pair in pairs for node in pair}))
        self._usual = dict(zip(pairs, weights.mean(axis=0).tolist(), strict=True))
        active = weights[weights.any(axis=1)]
        if self.threshold == "fisher":
            vectors = activity_vectors(self._nodes, pairs, active)
            past = np.zeros((0, len(self._nodes)))
            z = self._distances(vectors, past)[0][self.history :]
            self._moments = Moments.of(z)
        else:
            vectors = activity_vectors(self._nodes, pairs, active[-self.history :])
        self._past = np.ascontiguousarray(vectors[-self.history :])
        return self

    def _distances(self, vectors: Array, past: Array) -> tuple[Array, Array]:
        """(T,) z and (T, N) r, given the activity vectors before the first."""
        known = list(past)
        z, patterns = np.zeros(len(vectors)), np.zeros_like(vectors)
        for t, vector in enumerate(vectors):
            if known:
                patterns[t] = typical_pattern(np.array(known[-self.history :]))
            if vector.any():
                if patterns[t].any():
                    z[t] = 0.5 * ((vector - patterns[t]) ** 2).sum()
                known.append(vector)
            else:
                patterns[t] = 0.0
        return z, patterns

    @once_a_series
    def _run(self, series: EdgeSeries) -> tuple[Array, Array]:
        """(T,) score and (T, P) what each pair of services adds to it."""
        self.require(self._nodes is not None)
        pairs, weights, _ = weights_of(series)
        known = self._nodes or ()
        new = sorted({node for pair in pairs for node in pair} - set(known))
        nodes = (*known, *new)
        past = np.hstack([self._past, np.zeros((len(self._past), len(new)))])
        vectors = activity_vectors(nodes, pairs, weights)
        z, patterns = self._distances(vectors, past)
        parts = self._pair_parts(0.5 * (vectors - patterns) ** 2 * (z > 0)[:, None], nodes, pairs, weights)
        if self.threshold == "fisher":
            limit = self._moments.thresholds(z, self.discount, self.critical)
            z, parts = z / limit, parts / limit[:, None]
        return z, parts

    def _pair_parts(self, own: Array, nodes: tuple[str, ...], pairs: tuple[Pair, ...], weights: Array) -> Array:
        """Each node's part shared out over its pairs, by the distance of their weight from training (plus a trace of it)."""
        usual = np.array([self._usual.get(pair, 0.0) for pair in pairs])
        moved = np.where(weights > 0, np.abs(weights - usual) + 1e-6 * weights, 0.0)
        place = {node: i for i, node in enumerate(nodes)}
        ends: NDArray[np.int64] = np.array([[place[a], place[b]] for a, b in pairs], dtype=np.int64).reshape(-1, 2)
        total = np.zeros((len(nodes), len(weights)))
        for side in (0, 1):
            np.add.at(total, ends[:, side], moved.T)
        each = own / np.maximum(total.T, 1e-300)
        return np.asarray(moved * (each[:, ends[:, 0]] + each[:, ends[:, 1]]))

    def score(self, windows: EdgeSeries) -> Scores:
        """z (over the threshold, if asked); contributions as in the class's description, by bytes within a pair."""
        z, parts = self._run(windows)
        return Scores(windows.window_s, windows.window_start, z, windows.edges, _to_edges(windows, parts))

    def explain(self, window: Window) -> list[Reason]:
        """The edges that turned the activity vector most."""
        parts = self._run(window.series)[1][window.index]
        series, columns = window.series, columns_of(window.series)
        pairs, weights, index = weights_of(series)
        bytes_ = columns.fold(total_bytes(series)[window.index][None])[0]
        reasons = []
        for p in np.argsort(-parts, kind="stable")[:SHOWN]:
            mine = np.flatnonzero((index == p) & (bytes_ > 0))
            if parts[p] <= LEAST or not len(mine):
                continue
            edge = present(columns.keys[mine[bytes_[mine].argmax()]], series, window.index)
            seen, usual = float(np.expm1(weights[window.index, p])), float(np.expm1(self._usual.get(pairs[p], 0.0)))
            text = (
                f"{edge.client} → {edge.server}:{edge.server_port} turned the activity of the graph: {format_bytes(seen)} "
                f"between the two, usually {format_bytes(usual)}; {parts[p] / parts.sum():.0%} of the turn"
            )
            reasons.append(Reason(self.name, text, edge.client, edge.server, edge.server_port, seen, usual, "bytes"))
        return reasons

    def state(self) -> Mapping[str, Any]:
        """Services, the last activity vectors, mean weights and moments."""
        self.require(self._nodes is not None)
        usual = {"pairs": [list(pair) for pair in self._usual], "usual": np.array(list(self._usual.values()))}
        return {"nodes": list(self._nodes or ()), "past": self._past, "moments": list(self._moments), **usual}

    def load_state(self, state: Mapping[str, Any]) -> Self:
        """The reverse of `state`."""
        self._nodes, self._past = tuple(map(str, state["nodes"])), np.asarray(state["past"])
        pairs = [(str(a), str(b)) for a, b in state["pairs"]]
        self._usual = dict(zip(pairs, np.asarray(state["usual"]).tolist(), strict=True))
        self._moments = Moments(*map(float, state["moments"]))
        return self


def _to_edges(series: EdgeSeries, parts: Array) -> Array:
    """(T, P) per pair → (T, E) per edge, by bytes."""
    columns, (_, _, index) = columns_of(series), weights_of(series)
    bytes_ = total_bytes(series)
    per_column = columns.fold(bytes_)
    total = np.zeros((parts.shape[1], len(series)))
    np.add.at(total, index[index >= 0], per_column.T[index >= 0])
    out = np.zeros_like(per_column)
    real = index >= 0
    out[:, real] = parts[:, index[real]] * per_column[:, real] / np.maximum(total.T[:, index[real]], 1.0)
    return columns.spread(out, bytes_)
