"""The research prototype's method, computed correctly: structural features of the pod graph under a supervised model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from mimir.detectors.base import Reason, Scores
from mimir.detectors.columns import NODE, total_bytes
from mimir.detectors.mimir_lasso.features import FAMILIES, Features, Item
from mimir.detectors.mimir_lasso.models import Kind, Model, learned, restored
from mimir.detectors.mimir_lasso.podgraph import OUTSIDE_CLASS, class_of
from mimir.detectors.parameters import Parametrised, once_a_series
from mimir.errors import MimirError
from mimir.flows.edges import EdgeSeries, Window

Array = NDArray[np.float64]
SHOWN = 3  #: features named by `explain`
ASKED = 12  #: features, the furthest from usual, that `explain` puts back to usual
IQR = 1.349  #: interquartile range of a standard normal
SCALE_SHARE, SCALE_FLOOR = (
    0.02,
    1e-6,
)  #: least scale, as a share of the median and absolute: what never changed must not be infinite
WORDS = {
    "reciprocity": "weighted reciprocity of {0} and {1}",
    "evenness": "unevenness of bytes over the pods of {0} and {1}",
    "centrality": "harmonic centrality of {0}",
    "current": "unevenness of the current from the sensitive pods to outside over the pods of {0}",
    "bypass": "share of pod-to-pod bytes around the service address",
}


class MimirLasso(Parametrised):
    """Score = decision value of a model that was shown labelled leaks; features as in `mimir.detectors.mimir_lasso.features`.

    Each feature is set against its median in units of its interquartile range (both of the benign fit recording only), then
    sign · log(1 + |z|), so that rates far above those of training stay comparable. Beside every feature stand the largest
    and the smallest of its family: what was learned on one path can carry over to another. Undefined features count as usual.

    Source: Mimir's research prototype; Squartini et al. 2013, Rochat 2009, Brandes & Fleischer 2005; Tibshirani 1996 (LASSO)
    Family: supervised, structural graph features
    Supervised: yes
    Needs: bytes, the pod view, and a recording with labelled leaks
    Complexity: O(T (S³ + N³)) for S services and N pods, O(T K) a pass of the model over K features
    Limits: knows the leaks it was shown; shares of bytes move little under a small leak; blind to DNS sizes and to anything that keeps
        the shape of the graph; new services have no feature
    """

    name = "mimir_lasso"
    parameters = ("model", "penalty", "trees", "seed")

    def __init__(self, model: Kind = "lasso", penalty: float = 0.01, trees: int = 100, seed: int = 0) -> None:
        self.model, self.penalty, self.trees, self.seed = model, penalty, trees, seed
        self._features: Features | None = None
        self._centre = self._scale = np.zeros(0)
        self._benign: Array = np.zeros((0, 0))
        self._model: Model | None = None

    def fit(self, benign: EdgeSeries) -> Self:
        """Learn which services and pairs there are, and what is usual: centre and scale of every feature."""
        if self.penalty <= 0 or self.trees < 1:
            raise MimirError(
                f"detector.penalty must be > 0 and trees ≥ 1 (got {self.penalty:g}, {self.trees}); see conf/detector/mimir_lasso.yaml"
            )
        self._features = Features.of(benign)
        values = self._features.table(benign)
        known = np.isfinite(values).any(axis=0) if len(values) else np.zeros(values.shape[1], dtype=np.bool_)
        low, middle, high = np.zeros((3, values.shape[1]))
        low[known], middle[known], high[known] = np.nanquantile(values[:, known], (0.25, 0.5, 0.75), axis=0)
        self._centre = middle
        self._scale = np.maximum((high - low) / IQR, np.maximum(SCALE_SHARE * np.abs(middle), SCALE_FLOOR))
        self._benign, self._model = self._points(self._standard(values)), None
        return self

    def learn(self, windows: EdgeSeries, labels: NDArray[np.int8]) -> Self:
        """Learn the model from labelled windows, those of `fit` being benign. `labels` (T,): 1 leaking, 0 benign, -1 left out."""
        self.require(self._features is not None)
        if not (labels == 1).any():
            raise MimirError(
                f"{self.name} was shown no leaking window of {windows.window_s} s; change evaluation.train or raise evaluation.train_s"
            )
        shown = self._points(self._items(windows))
        x = np.vstack([self._benign, shown[labels == 0], shown[labels == 1]])
        leaking = np.arange(len(x)) >= len(x) - int((labels == 1).sum())
        if leaking.all():
            raise MimirError(f"{self.name} was shown no benign window; raise evaluation.fit_s")
        self._model = learned(self.model, x, leaking, self.penalty, self.trees, self.seed)
        return self

    def _standard(self, values: Array) -> Array:
        z = np.nan_to_num((values - self._centre) / self._scale, nan=0.0)
        return np.asarray(np.sign(z) * np.log1p(np.abs(z)))

    @once_a_series
    def _items(self, windows: EdgeSeries) -> Array:
        """(T, K) standardised features."""
        self.require(self._features is not None)
        assert self._features is not None
        return self._standard(self._features.table(windows))

    def _points(self, items: Array) -> Array:
        """(T, K + 2 · families): features, then the largest and smallest of each family."""
        assert self._features is not None
        families = np.array([item.family for item in self._features.items])
        pooled = [
            how(items[:, families == name], axis=1, initial=0.0)[:, None]
            for name in FAMILIES
            for how in (np.max, np.min)
        ]
        return np.hstack([items, *pooled])

    def _decide(self, items: Array) -> Array:
        assert self._model is not None
        return self._model.decide(self._points(items))

    def score(self, windows: EdgeSeries) -> Scores:
        """Decision values; contributions share the score out by squared standardised features, then by bytes."""
        self.require(self._model is not None)
        items = self._items(windows)
        score = self._decide(items)
        square = items**2
        parts = square / np.maximum(square.sum(axis=1, keepdims=True), 1e-300) * np.abs(score)[:, None]
        carried, mine = total_bytes(windows), self._edges(windows)
        share = parts / np.maximum(carried @ mine.T, 1e-300)
        return Scores(windows.window_s, windows.window_start, score, windows.edges, carried * (share @ mine))

    def _edges(self, series: EdgeSeries) -> Array:
        """(K, E) 1.0 where an edge belongs to a feature: between its two services, at its one, between any two pods."""
        assert self._features is not None
        ends = [(class_of(k.client, series), class_of(k.server, series)) for k in series.edges]
        inside = [OUTSIDE_CLASS not in pair and not any(NODE in name for name in pair) for pair in ends]
        rows = [
            [_belongs(item, pair, inner) for pair, inner in zip(ends, inside, strict=True)]
            for item in self._features.items
        ]
        return np.array(rows, dtype=np.float64).reshape(len(rows), len(ends))

    def explain(self, window: Window) -> list[Reason]:
        """The features without which the score would fall most, each with its busiest edge in this window."""
        self.require(self._model is not None)
        assert self._features is not None
        row = self._items(window.series)[window.index]
        asked = np.argsort(-np.abs(row), kind="stable")[:ASKED]
        trials = np.tile(row, (len(asked) + 1, 1))
        trials[np.arange(len(asked)), asked] = 0.0
        decided = self._decide(trials)
        fall = decided[-1] - decided[:-1]
        carried = total_bytes(window.series)[window.index] * self._edges(window.series)
        best = [int(asked[i]) for i in np.argsort(-fall, kind="stable") if fall[i] > 0 and carried[asked[i]].any()]
        falls = dict(zip(asked.tolist(), fall.tolist(), strict=True))
        return [self._reason(window, k, int(carried[k].argmax()), float(row[k]), falls[k]) for k in best[:SHOWN]]

    def _reason(self, window: Window, k: int, edge: int, squashed: float, fall: float) -> Reason:
        assert self._features is not None
        item, key = self._features.items[k], window.series.edges[edge]
        usual = float(self._centre[k])
        observed = usual + float(np.sign(squashed) * np.expm1(abs(squashed)) * self._scale[k])
        text = (
            f"{WORDS[item.family].format(*item.services)} came to {observed:.3g}, usually {usual:.3g} "
            f"({key.client} → {key.server}:{key.server_port} carries most of it); at its usual level the score would be {fall:.3g} lower"
        )
        return Reason(
            self.name, text, key.client, key.server, key.server_port, observed, usual, item.family, proto=key.proto
        )

    def state(self) -> Mapping[str, Any]:
        """Services and pairs, centre and scale, and the model: weights, or what a boosted one learned from."""
        self.require(self._model is not None)
        assert self._features is not None
        assert self._model is not None
        return self._features.state() | {
            "centre": self._centre,
            "scale": self._scale,
            "model": dict(self._model.state()),
        }

    def load_state(self, state: Mapping[str, Any]) -> Self:
        """The reverse of `state`."""
        self._features = Features.from_state(state)
        self._centre, self._scale = np.asarray(state["centre"]), np.asarray(state["scale"])
        self._model = restored(self.model, state["model"], self.trees, self.seed)
        return self


def _belongs(item: Item, ends: tuple[str, str], inside: bool) -> bool:
    if item.family == "bypass":
        return inside
    return {*item.services} <= {*ends}
