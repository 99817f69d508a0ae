"""SpotLight: distances between sketches of communication graphs (Eswaran, Faloutsos, Guha & Mishra, KDD 2018)."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from mimir.detectors.base import Reason, Scores
from mimir.detectors.columns import columns_of, keys_from_json, keys_to_json, place, total_bytes
from mimir.detectors.parameters import Parametrised, once_a_series
from mimir.detectors.pods import present
from mimir.errors import MimirError
from mimir.flows.edges import EdgeKey, EdgeSeries, Window
from mimir.units import format_bytes

SHOWN = 3  #: edges named by `explain`
SCALE_FLOOR_BYTES = 100.0  #: a sketch that never changes would turn one stray packet into an infinite z
SCALE_FLOOR_SHARE = 0.01  #: … or one per cent of a sketch's level


def members(names: Sequence[str], share: float, sketches: int, seed: int, role: str) -> NDArray[np.float64]:
    """(names, sketches) 1.0 where a node belongs to a sketch's set: independently with probability `share`.

    A node's draws depend on its name, role and the seed only, so a node unknown in training has its sets, too.
    """
    out = np.zeros((len(names), sketches))
    for i, name in enumerate(names):
        digest = hashlib.sha256(f"{role}\0{name}".encode()).digest()
        draws = np.random.default_rng([seed, int.from_bytes(digest[:8])]).random(sketches)
        out[i] = draws < share
    return out


class Spotlight(Parametrised):
    """Score = Mahalanobis distance of a window's sketch from the benign ones.

    Sketch k is the weight (IP bytes, both directions) of all edges from a random set of clients to a random set of servers,
    v_k = Σ_{u ∈ S_k, v ∈ T_k} w_uv, every node being in S_k with probability p and in T_k with q (algorithm 1). The paper
    leaves open what judges the vectors (it uses a robust random cut forest); here it is √((v − μ)ᵀ C⁻¹ (v − μ)) with the
    z-scored benign covariance shrunk towards the identity. Contributions are exact: v − μ is a sum over edges.

    Source: Eswaran et al., KDD 2018, algorithm 1 (sketches)
    Family: streaming graph
    Supervised: no
    Needs: bytes
    Complexity: O(T (E K + K²) + K³) to fit, O(T (E K + K²)) to score
    Limits: absolute bytes, so load in training must resemble the test; an edge is in no sketch with probability (1 − p q)^K
    """

    name = "spotlight"
    parameters = ("sketches", "source_share", "target_share", "shrinkage", "seed")

    def __init__(self) -> None:
        self.sketches = 64
        self.source_share = self.target_share = 0.25
        self.shrinkage = 0.1
        self.seed = 1
        self._edges: tuple[EdgeKey, ...] | None = None
        self._usual = self._scale = np.zeros(0)
        self._precision = np.zeros((0, 0))

    def fit(self, benign: EdgeSeries) -> Self:
        """Learn mean bytes of edges, and scale and covariance of sketches; MimirError for shares outside (0, 1]."""
        shares = {n: getattr(self, n) for n in ("source_share", "target_share", "shrinkage")}
        wrong = [f"detector.{n} must lie in (0, 1] (got {v})" for n, v in shares.items() if not 0 < v <= 1]
        if self.sketches < 1:
            wrong.append(f"detector.sketches must be ≥ 1 (got {self.sketches})")
        if len(benign) < 2:
            wrong.append(
                f"spotlight needs at least 2 benign windows to fit (got {len(benign)}); raise evaluation.fit_s"
            )
        if wrong:
            raise MimirError("; ".join([*wrong, "see conf/detector/spotlight.yaml"]))
        columns = columns_of(benign)
        bytes_ = columns.fold(total_bytes(benign))
        self._edges, self._usual = columns.keys, bytes_.mean(axis=0)
        sketches = bytes_ @ self._masks(columns.keys)
        level = sketches.mean(axis=0)
        self._scale = np.maximum(sketches.std(axis=0), np.maximum(SCALE_FLOOR_BYTES, SCALE_FLOOR_SHARE * level))
        z = (sketches - level) / self._scale
        covariance = (1 - self.shrinkage) * (z.T @ z) / len(z) + self.shrinkage * np.eye(self.sketches)
        self._precision = np.linalg.inv(covariance)
        return self

    def _masks(self, keys: Sequence[EdgeKey]) -> NDArray[np.float64]:
        """(edges, K) 1.0 where an edge counts for a sketch."""
        nodes = sorted({n for k in keys for n in k[:2]})
        index = {n: i for i, n in enumerate(nodes)}
        sources = members(nodes, self.source_share, self.sketches, self.seed, "source")
        targets = members(nodes, self.target_share, self.sketches, self.seed, "target")
        clients, servers = [index[k.client] for k in keys], [index[k.server] for k in keys]
        return sources[clients].reshape(-1, self.sketches) * targets[servers].reshape(-1, self.sketches)

    @once_a_series
    def _parts(self, windows: EdgeSeries) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        """Score (T,), share of every column (T, C), bytes of every column (T, C)."""
        self.require(self._edges is not None)
        known, columns = self._edges or (), columns_of(windows)
        bytes_ = columns.fold(total_bytes(windows))
        where = place(columns.keys, known)
        excess = bytes_.copy()
        excess[:, where >= 0] -= self._usual[where[where >= 0]]
        gone = np.setdiff1d(np.arange(len(known)), where)
        masks = self._masks(columns.keys) / self._scale
        absent = (self._usual[gone] @ self._masks([known[i] for i in gone])) / self._scale
        z = excess @ masks - absent
        pulled = z @ self._precision
        score = np.sqrt(np.maximum((pulled * z).sum(axis=1), 0.0))
        return score, excess * (pulled @ masks.T) / np.maximum(score, 1e-300)[:, None], bytes_

    def score(self, windows: EdgeSeries) -> Scores:
        """Distance; contributions of edges add up to it (but for edges that are missing altogether)."""
        score, parts, _ = self._parts(windows)
        spread = columns_of(windows).spread(parts, total_bytes(windows))
        return Scores(windows.window_s, windows.window_start, score, windows.edges, spread)

    def explain(self, window: Window) -> list[Reason]:
        """The edges that add most to the distance."""
        score, parts, bytes_ = (values[window.index] for values in self._parts(window.series))
        keys = columns_of(window.series).keys
        usual = dict(zip(self._edges or (), self._usual, strict=True))
        reasons = []
        for i in np.argsort(-parts, kind="stable")[:SHOWN]:
            if parts[i] > 0:
                edge = present(keys[i], window.series, window.index)
                mean, share = float(usual.get(keys[i], 0.0)), parts[i] / max(score, 1e-300)
                text = (
                    f"{edge.client} → {edge.server}:{edge.server_port} carried {format_bytes(bytes_[i])}, on average "
                    f"{format_bytes(mean)}; {share:.0%} of the distance of this window's sketch from the usual ones"
                )
                reasons.append(Reason(self.name, text, *edge[:3], float(bytes_[i]), mean, "bytes"))
        return reasons

    def state(self) -> Mapping[str, Any]:
        """Edges with their mean, scale and inverse covariance of the sketches."""
        self.require(self._edges is not None)
        arrays = {"usual": self._usual, "scale": self._scale, "precision": self._precision}
        return {"edges": keys_to_json(self._edges or ()), **arrays}

    def load_state(self, state: Mapping[str, Any]) -> Self:
        """The reverse of `state`."""
        self._edges = keys_from_json(state["edges"])
        self._usual, self._scale, self._precision = (np.asarray(state[k]) for k in ("usual", "scale", "precision"))
        return self
