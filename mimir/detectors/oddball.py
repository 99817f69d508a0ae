"""OddBall: nodes whose egonet leaves the power laws that egonets follow (Akoglu, McGlohon & Faloutsos, PAKDD 2010)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from mimir.detectors.base import Reason, Scores
from mimir.detectors.columns import canonical, columns_of, total_bytes
from mimir.detectors.parameters import Parametrised, once_a_series
from mimir.detectors.pods import real_names
from mimir.errors import MimirError
from mimir.flows.edges import EdgeSeries, Window

SHOWN = 3  #: nodes named by `explain`
BLOCK = 256  #: windows whose graphs are in memory at once
#: law → (x, y): y ∝ x^θ (observations 1, 2 and 3 of the paper), as numbers of the features below
LAWS = {"edges against nodes": (0, 1), "weight against edges": (1, 2), "eigenvalue against weight": (2, 3)}
SCALE_FLOOR = 0.05  #: smallest scale of a node's distance; out-of-line distances are of the order of 1
Cube = NDArray[np.float64]


def egonet_features(weights: Cube) -> Cube:
    """(T, n, n) symmetric weights without loops → (T, n, 4): neighbours N, edges E, weight W, largest eigenvalue λ.

    The egonet of a node is the node, its neighbours and all edges among them (table 1 of the paper); W is in bytes.
    """
    windows, n = weights.shape[:2]
    out, ever = np.zeros((windows, n, 4)), weights.max(axis=0, initial=0.0) > 0
    for node in range(n):
        ego = np.concatenate([[node], np.flatnonzero(ever[node])])
        block = weights[:, ego[:, None], ego]
        there = block[:, 0] > 0  # neighbours in this window
        there[:, 0] = True
        block = block * (there[:, :, None] & there[:, None, :])
        out[:, node, 0] = there.sum(axis=1) - 1
        out[:, node, 1] = (block > 0).sum(axis=(1, 2)) / 2
        out[:, node, 2] = block.sum(axis=(1, 2)) / 2
        out[:, node, 3] = np.linalg.eigvalsh(block)[:, -1]
    return out


def out_of_line(x: NDArray[np.float64], y: NDArray[np.float64], c: float, theta: float) -> NDArray[np.float64]:
    """max(y, C x^θ) / min(y, C x^θ) · log(|y − C x^θ| + 1): equation 1 of the paper; 0 where x or y is not positive.

    >>> round(float(out_of_line(np.array([2.0]), np.array([16.0]), 1.0, 2.0)[0]), 6)  # 16 / 4 · log 13
    10.259797
    """
    line = c * np.maximum(x, 1e-300) ** theta
    ratio = np.maximum(y, line) / np.maximum(np.minimum(y, line), 1e-300)
    return np.where((x > 0) & (y > 0), ratio * np.log(np.abs(y - line) + 1), 0.0)


class Oddball(Parametrised):
    """Score = largest out-of-line distance of a node from one of three power laws of egonets (see `LAWS`).

    The laws are straight lines through log y against log x of all nodes and benign windows, by least squares. With `per_node`
    (an addition of ours) a distance is taken relative to that node's benign mean and spread: an application has a dozen
    nodes with fixed roles, and some of them always lie off a common line. Weights are IP bytes of both directions.

    Source: Akoglu et al., PAKDD 2010, observations 1–3 and equation 1
    Family: static graph, per window
    Supervised: no
    Needs: bytes
    Complexity: O(T Σ degree³) to fit and to score, for the eigenvalues
    Limits: bytes of a whole egonet hide a small leak on one of its edges; a dozen nodes make poor power laws
    """

    name = "oddball"
    parameters = ("per_node",)

    def __init__(self) -> None:
        self.per_node = True
        self._laws: NDArray[np.float64] | None = None  #: (3, 2) C and θ
        self._nodes: tuple[str, ...] = ()
        self._mean = self._scale = np.zeros((0, 3))  #: per node and law; last row: any other node

    def fit(self, benign: EdgeSeries) -> Self:
        """Learn C and θ of each law, and mean and spread of each node's distance; MimirError without windows."""
        if not len(benign):
            raise MimirError("oddball needs at least 1 benign window to fit (got 0); raise evaluation.fit_s")
        features, nodes = _features(benign)
        there = features[:, :, 0].ravel() > 0
        self._laws = np.array([_line(features[:, :, x].ravel()[there], features[:, :, y].ravel()[there])
                               for x, y in LAWS.values()])  # fmt: skip
        distances, self._nodes = self._distances(features), nodes
        seen = features[:, :, 0] > 0
        rows = [distances[seen[:, i], i] for i in range(len(nodes))] + [distances[seen]]
        self._mean = np.array([r.mean(axis=0) if len(r) else np.zeros(3) for r in rows])
        self._scale = np.array([np.maximum(r.std(axis=0), SCALE_FLOOR) if len(r) else np.ones(3) for r in rows])
        return self

    def _distances(self, features: Cube) -> Cube:
        """(T, n, 3) out-of-line distance of every node from every law."""
        laws = self._laws if self._laws is not None else np.zeros((3, 2))
        parts = [out_of_line(features[..., x], features[..., y], c, theta)
                 for (x, y), (c, theta) in zip(LAWS.values(), laws, strict=True)]  # fmt: skip
        return np.stack(parts, axis=-1)

    @once_a_series
    def _judged(self, windows: EdgeSeries) -> tuple[Cube, Cube, tuple[str, ...]]:
        """Judged distances (T, n, 3), features (T, n, 4), names."""
        self.require(self._laws is not None)
        features, nodes = _features(windows)
        distances = self._distances(features)
        if self.per_node and nodes:
            place = {name: i for i, name in enumerate(self._nodes)}
            which = [place.get(name, len(self._nodes)) for name in nodes]
            distances = np.abs(distances - self._mean[which]) / self._scale[which]
        return np.where(features[:, :, :1] > 0, distances, 0.0), features, nodes

    def score(self, windows: EdgeSeries) -> Scores:
        """Largest judged distance; an edge contributes the larger one of its two ends."""
        judged, _, nodes = self._judged(windows)
        worst = judged.max(axis=2, initial=0.0)
        place = {name: i for i, name in enumerate(nodes)}
        ends = [canonical(k, windows.workloads)[:2] for k in windows.edges]
        used = total_bytes(windows) > 0
        parts = np.zeros_like(used, dtype=float)
        for i, (client, server) in enumerate(ends):
            parts[:, i] = np.maximum(worst[:, place[client]], worst[:, place[server]])
        return Scores(
            windows.window_s, windows.window_start, worst.max(axis=1, initial=0.0), windows.edges, parts * used
        )

    def explain(self, window: Window) -> list[Reason]:
        """The nodes farthest from a law, each with its heaviest edge."""
        every, all_features, nodes = self._judged(window.series)
        judged, features = every[window.index], all_features[window.index]
        assert self._laws is not None
        series, bytes_ = window.series, total_bytes(window.series)[window.index]
        ends = [canonical(k, series.workloads)[:2] for k in series.edges]
        reasons = []
        for node in np.argsort(-judged.max(axis=1, initial=0.0), kind="stable")[:SHOWN]:
            law = int(np.argmax(judged[node]))
            mine = [i for i, pair in enumerate(ends) if nodes[node] in pair and bytes_[i] > 0]
            if not mine or judged[node, law] <= 0:
                continue
            (x, y), title, edge = (
                list(LAWS.values())[law],
                list(LAWS)[law],
                series.edges[max(mine, key=lambda i: bytes_[i])],
            )
            observed = float(features[node, y])
            expected = float(self._laws[law, 0] * features[node, x] ** self._laws[law, 1])
            (named,) = real_names([nodes[node]], series, window.index)
            text = (
                f"the egonet of {named} is out of line in {title}: {observed:.4g} where the law gives {expected:.4g}; "
                f"its heaviest edge is {edge.client} → {edge.server}:{edge.server_port}"
            )
            reasons.append(Reason(self.name, text, *edge[:3], observed, expected, "bytes" if y > 1 else "edges"))
        return reasons

    def state(self) -> Mapping[str, Any]:
        """The laws, and mean and spread per node."""
        self.require(self._laws is not None)
        return {"laws": self._laws, "nodes": list(self._nodes), "mean": self._mean, "scale": self._scale}

    def load_state(self, state: Mapping[str, Any]) -> Self:
        """The reverse of `state`."""
        self._laws, self._nodes = np.asarray(state["laws"]), tuple(state["nodes"])
        self._mean, self._scale = np.asarray(state["mean"]), np.asarray(state["scale"])
        return self


def _features(series: EdgeSeries) -> tuple[Cube, tuple[str, ...]]:
    """Egonet features of every node that appears, with the names of the nodes."""
    columns = columns_of(series)
    bytes_ = columns.fold(total_bytes(series))
    nodes = tuple(sorted({n for k in columns.keys for n in k[:2]}))
    place = {name: i for i, name in enumerate(nodes)}
    ends = [(place[k.client], place[k.server]) for k in columns.keys]
    parts = [np.zeros((0, len(nodes), 4))]
    for first in range(0, len(series), BLOCK):
        block = bytes_[first : first + BLOCK]
        weights = np.zeros((len(block), len(nodes), len(nodes)))
        for i, (a, b) in enumerate(ends):
            if a != b:
                weights[:, a, b] += block[:, i]
                weights[:, b, a] += block[:, i]
        parts.append(egonet_features(weights))
    return np.concatenate(parts), nodes


def _line(x: NDArray[np.float64], y: NDArray[np.float64]) -> tuple[float, float]:
    """C and θ of y = C x^θ by least squares of the logarithms; θ = 1 where x takes one value only."""
    if not len(x):
        return 1.0, 1.0
    a, b = np.log(x), np.log(np.maximum(y, 1e-300))
    spread = float(((a - a.mean()) ** 2).sum())
    theta = float(((a - a.mean()) * (b - b.mean())).sum()) / spread if spread > 1e-12 else 1.0
    return float(np.exp(b.mean() - theta * a.mean())), theta
