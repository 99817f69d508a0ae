"""Subspace method: bytes outside the usual joint movement of all edges (Lakhina, Crovella & Diot, SIGCOMM 2004)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from mimir.detectors.base import Reason, Scores
from mimir.detectors.columns import canonical, columns_of, keys_from_json, keys_to_json, place, total_bytes
from mimir.detectors.parameters import Parametrised, once_a_series
from mimir.errors import MimirError
from mimir.flows.edges import EdgeKey, EdgeSeries, Window
from mimir.units import format_bytes

SHOWN = 3  #: edges named by `explain`
SCALE_FLOOR_BYTES = 100.0  #: a constant edge would otherwise turn one stray packet into an infinite z
SCALE_FLOOR_SHARE = 0.01  #: … or one per cent of an edge's level


class PcaSpe(Parametrised):
    """Score = squared prediction error ‖(I − VVᵀ)x‖² of the z-scored edge vector x (section 4.2 of the paper).

    V holds the leading components that together keep `variance_kept` of the variance in training. An edge unknown in
    training is a coordinate of its own outside the subspace: (bytes / median scale of the known edges)².

    Source: Lakhina, Crovella & Diot, SIGCOMM 2004, section 4.2
    Family: classical, subspace
    Supervised: no
    Needs: bytes
    Complexity: O(T E² + E³) to fit, O(T E k) to score, k components
    Limits: linear; follows neither a mix nor a load that training did not show; large leaks in training spoil the subspace
    """

    name = "pca_spe"
    parameters = ("variance_kept",)

    def __init__(self, variance_kept: float = 0.95) -> None:
        self.variance_kept = variance_kept
        self._edges: tuple[EdgeKey, ...] | None = None
        self._mean = self._scale = np.zeros(0)
        self._components = np.zeros((0, 0))

    def fit(self, benign: EdgeSeries) -> Self:
        """Learn mean, scale and components; MimirError with fewer than 2 windows or a share outside (0, 1]."""
        if not 0 < self.variance_kept <= 1:
            raise MimirError(
                f"detector.variance_kept must lie in (0, 1] (got {self.variance_kept}); see conf/detector/pca_spe.yaml"
            )
        if len(benign) < 2:
            raise MimirError(
                f"pca_spe needs at least 2 benign windows to fit (got {len(benign)}); raise evaluation.fit_s"
            )
        columns = columns_of(benign)
        bytes_ = columns.fold(total_bytes(benign))
        self._edges, self._mean = columns.keys, bytes_.mean(axis=0)
        self._scale = np.maximum(bytes_.std(axis=0), np.maximum(SCALE_FLOOR_BYTES, SCALE_FLOOR_SHARE * self._mean))
        rows, power = _principal((bytes_ - self._mean) / self._scale)
        share = np.cumsum(power)
        keep = int(np.searchsorted(share, self.variance_kept * share[-1]) + 1) if len(share) and share[-1] > 0 else 0
        self._components = np.ascontiguousarray(rows[:keep])  # stored and fresh must multiply alike
        return self

    @once_a_series
    def _residuals(self, windows: EdgeSeries) -> tuple[NDArray[np.float64], tuple[EdgeKey, ...]]:
        """(T, C) z-scored residual of every column of the windows and every known edge (the missing ones last)."""
        self.require(self._edges is not None)
        known, columns = self._edges or (), columns_of(windows)
        bytes_ = columns.fold(total_bytes(windows))
        where = place(columns.keys, known)
        x = np.zeros((len(windows), len(known)))
        x[:, where[where >= 0]] = bytes_[:, where >= 0]
        x = (x - self._mean) / self._scale
        x = x - (x @ self._components.T) @ self._components
        scale = float(np.median(self._scale)) if len(self._scale) else SCALE_FLOOR_BYTES
        out = bytes_ / scale
        out[:, where >= 0] = x[:, where[where >= 0]]
        gone = np.setdiff1d(np.arange(len(known)), where)
        return np.hstack([out, x[:, gone]]), (*columns.keys, *(known[i] for i in gone))

    def score(self, windows: EdgeSeries) -> Scores:
        """SPE; contributions are its squared terms per edge (those of edges absent from the series count in the score only)."""
        residuals, _ = self._residuals(windows)
        squared, columns = residuals**2, columns_of(windows)
        parts = columns.spread(squared[:, : len(columns.keys)], total_bytes(windows))
        return Scores(windows.window_s, windows.window_start, squared.sum(axis=1), windows.edges, parts)

    def explain(self, window: Window) -> list[Reason]:
        """The edges with the largest squared residual in this window."""
        residual, keys = self._residuals(window.series)
        row = residual[window.index] ** 2
        mean = {k: float(m) for k, m in zip(self._edges or (), self._mean, strict=True)}
        bytes_ = total_bytes(window.series)[window.index]
        edges = list(window.series.edges)
        columns = [canonical(k, window.series.workloads) for k in edges]
        reasons = []
        for i in np.argsort(-row, kind="stable")[:SHOWN]:
            mine = [j for j, c in enumerate(columns) if c == keys[i]]
            if mine and row[i] > 0:
                edge = edges[max(mine, key=lambda j: (bytes_[j], -j))]
                share = row[i] / max(row.sum(), 1e-300)
                reasons.append(_reason(self.name, edge, float(bytes_[mine].sum()), mean.get(keys[i], 0.0), share))
        return reasons

    def state(self) -> Mapping[str, Any]:
        """Edges, mean, scale and components."""
        self.require(self._edges is not None)
        arrays = {"mean": self._mean, "scale": self._scale, "components": self._components}
        return {"edges": keys_to_json(self._edges or ()), **arrays}

    def load_state(self, state: Mapping[str, Any]) -> Self:
        """The reverse of `state`."""
        self._edges = keys_from_json(state["edges"])
        self._mean, self._scale, self._components = (np.asarray(state[k]) for k in ("mean", "scale", "components"))
        return self


def _principal(x: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Right singular vectors of (T, E) as rows and their squared singular values, largest first."""
    if len(x) < x.shape[1]:
        _, singular, rows = np.linalg.svd(x, full_matrices=False)
        return rows, singular**2
    power, vectors = np.linalg.eigh(x.T @ x)
    return vectors.T[::-1], np.maximum(power[::-1], 0.0)


def _reason(name: str, edge: EdgeKey, observed: float, expected: float, share: float) -> Reason:
    text = (
        f"{edge.client} → {edge.server}:{edge.server_port} carried {format_bytes(observed)}, on average "
        f"{format_bytes(expected)}; {share:.0%} of what the usual joint movement of edges leaves unexplained"
    )
    return Reason(name, text, edge.client, edge.server, edge.server_port, observed, expected, "bytes")
