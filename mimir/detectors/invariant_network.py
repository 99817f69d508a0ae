"""Invariant network: pairwise ARX models that held in training, and how many of them break (Jiang, Chen & Yoshihira 2006)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from mimir.detectors.arx import Pairs, fit_pairs, fitness
from mimir.detectors.base import Reason, Scores
from mimir.detectors.causal_rank import rank_causes
from mimir.detectors.measures import Measures
from mimir.detectors.parameters import Parametrised, once_a_series
from mimir.errors import MimirError
from mimir.flows.edges import EdgeSeries, Window
from mimir.units import format_bytes

Array = NDArray[np.float64]

SHOWN = 3  #: edges named by `explain`
LEARN_SHARE = 2 / 3  #: of training that models are fitted on; the rest validates them
QUANTILE, MARGIN = (
    0.995,
    1.1,
)  #: an invariant is broken when its residual exceeds MARGIN times this quantile of training
SCALE_FLOOR = 100.0  #: bytes: a measure that hardly moves is not worth standardising by less


class InvariantNetwork(Parametrised):
    """Score = share of the invariants that are broken in a window: |y − ŷ| > 1.1 × the 99.5 % quantile of training.

    Measures are bytes of every edge each way and of what every service sent. Every pair of them is fitted by an ARX model with
    `order` lags on two thirds of training; an invariant is a pair with fitness F ≥ `fitness` on the last third. To
    bound memory only the `per_measure` fittest models of each measure are candidates (the paper keeps all). `explain` ranks
    measures by how much they explain of what broke (causal anomalies of Cheng et al.). A broken invariant counts for
    both of its measures.

    Source: Jiang, Chen & Yoshihira, ICAC 2006 and IEEE TDSC 2006 (ARX, F, thresholds); Cheng et al., KDD 2016 (ranking)
    Family: classical, invariants
    Supervised: no
    Needs: bytes
    Complexity: O(T M² + M² n³) to fit and O(T M p) to score, M = 2 edges + services, p models a measure, n lags
    Limits: bytes explain bytes, so a leak that every hop of a chain carries keeps the pairs along it whole; counts breaks, not bytes
    """

    name = "invariant_network"
    parameters = ("order", "fitness", "per_measure")

    def __init__(self, order: int = 1, fitness: float = 0.5, per_measure: int = 10) -> None:
        self.order, self.fitness, self.per_measure = order, fitness, per_measure
        self._measures: Measures | None = None
        self._mean = self._scale = self._limit = np.zeros(0)
        self._pairs = Pairs(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros((0, 4)))

    def fit(self, benign: EdgeSeries) -> Self:
        """Learn which pairs hold; MimirError for parameters out of range or too few windows for the models."""
        if not 0 <= self.order <= 5 or self.per_measure < 1 or not self.fitness < 1:
            raise MimirError(
                f"detector.order must lie in 0 … 5, per_measure be ≥ 1 and fitness < 1 (got {self.order}, {self.per_measure}, "
                f"{self.fitness}); see conf/detector/invariant_network.yaml"
            )
        least = 6 * (self.order + 1)
        if len(benign) < least:
            raise MimirError(
                f"invariant_network of order {self.order} needs at least {least} benign windows to fit (got {len(benign)}); "
                "raise evaluation.fit_s"
            )
        self._measures = Measures.of(benign)
        bytes_ = self._measures.table(benign)
        self._mean, self._scale = bytes_.mean(axis=0), np.maximum(bytes_.std(axis=0), SCALE_FLOOR)
        z = (bytes_ - self._mean) / self._scale
        cut = int(len(z) * LEARN_SHARE)
        pairs = fit_pairs(z[:cut], self.order, self.per_measure)
        held_out = fitness(z[cut:, pairs.target], pairs.predictions(z[cut - self.order :])[self.order :])
        self._pairs = pairs.take(np.flatnonzero(held_out >= self.fitness))
        residuals = np.abs(z[:, self._pairs.target] - self._pairs.predictions(z))[self.order :]
        self._limit = MARGIN * np.quantile(residuals, QUANTILE, axis=0) if len(self._pairs) else np.zeros(0)
        return self

    @property
    def invariants(self) -> tuple[tuple[int, int], ...]:
        """Pairs (target, source) of measures that hold; raises NotFittedError before `fit`."""
        self.require(self._measures is not None)
        return tuple(zip(self._pairs.target.tolist(), self._pairs.source.tolist(), strict=True))

    @once_a_series
    def _residuals(self, windows: EdgeSeries) -> tuple[Array, Array]:
        """(T, M) standardised measures and (T, P) absolute residuals over their limits: above 1 is broken."""
        self.require(self._measures is not None)
        assert self._measures is not None
        z = (self._measures.table(windows) - self._mean) / self._scale
        excess = np.abs(z[:, self._pairs.target] - self._pairs.predictions(z)) / np.maximum(self._limit, 1e-9)
        return z, excess

    def score(self, windows: EdgeSeries) -> Scores:
        """Share of broken invariants; each counts half for either measure, and so for their edges."""
        broken = (self._residuals(windows)[1] > 1).astype(np.float64)
        assert self._measures is not None
        count = max(len(self._pairs), 1)
        parts = np.zeros((len(self._measures), len(windows)))
        for end in (self._pairs.target, self._pairs.source):
            np.add.at(parts, end, broken.T / (2 * count))
        return Scores(
            windows.window_s, windows.window_start, broken.sum(axis=1) / count, windows.edges,
            self._measures.to_edges(windows, np.ascontiguousarray(parts.T)),
        )  # fmt: skip

    def explain(self, window: Window) -> list[Reason]:
        """The measures that explain most of what broke, each with an edge that exists; [] where nothing broke."""
        z, excess = self._residuals(window.series)
        broken = np.flatnonzero(excess[window.index] > 1)
        if not len(broken):
            return []
        nodes = np.unique(np.concatenate([self._pairs.target, self._pairs.source]))
        cause = rank_causes(*(self._adjacency(nodes, chosen) for chosen in (np.arange(len(self._pairs)), broken)))
        reasons: list[Reason] = []
        for i in np.argsort(-cause, kind="stable"):
            if len(reasons) < SHOWN and cause[i] > 1e-6:
                reason = self._reason(int(nodes[i]), window, z, broken)
                reasons += [reason] if reason else []
        return reasons

    def _adjacency(self, nodes: NDArray[np.int64], chosen: NDArray[np.int64]) -> Array:
        """(N, N) 1 where a chosen invariant joins two measures."""
        out = np.zeros((len(nodes), len(nodes)))
        one, two = (np.searchsorted(nodes, end[chosen]) for end in (self._pairs.target, self._pairs.source))
        out[one, two] = out[two, one] = 1.0
        return out

    def _reason(self, measure: int, window: Window, z: Array, broken: NDArray[np.int64]) -> Reason | None:
        assert self._measures is not None
        named = self._measures.edge_of(measure, window)
        mine = self._pairs.target == measure
        joined = mine | (self._pairs.source == measure)
        gone = np.intersect1d(broken, np.flatnonzero(joined))
        if named is None or not len(gone):
            return None
        own = np.intersect1d(gone, np.flatnonzero(mine))
        hat = self._pairs.take(own).predictions(z)[window.index] if len(own) else np.zeros(1)
        edge, words = named
        usual = max(0.0, float(np.median(hat)) * self._scale[measure] + self._mean[measure])
        seen = float(z[window.index, measure] * self._scale[measure] + self._mean[measure])
        text = (
            f"{words} came to {format_bytes(seen)}, expected {format_bytes(usual)}; "
            f"{len(gone)} of its {int(joined.sum())} invariants are broken"
        )
        return Reason(self.name, text, edge.client, edge.server, edge.server_port, seen, usual, "bytes")

    def state(self) -> Mapping[str, Any]:
        """Measures, their mean and deviation, models and limits."""
        self.require(self._measures is not None)
        pairs, learned = self._pairs, self._measures.state() if self._measures else {}
        return learned | {
            "mean": self._mean, "scale": self._scale, "limit": self._limit,
            "target": pairs.target, "source": pairs.source, "coefficients": pairs.coefficients,
        }  # fmt: skip

    def load_state(self, state: Mapping[str, Any]) -> Self:
        """The reverse of `state`."""
        self._measures = Measures.from_state(state)
        self._mean, self._scale, self._limit = (np.asarray(state[k]) for k in ("mean", "scale", "limit"))
        self._pairs = Pairs(*(np.asarray(state[k]) for k in ("target", "source", "coefficients")))
        return self
