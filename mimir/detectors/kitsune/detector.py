"""Kitsune: damped statistics of every edge, judged by an ensemble of small auto-encoders (NDSS 2018)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from mimir.detectors.base import Reason, Scores
from mimir.detectors.columns import columns_of, keys_from_json, keys_to_json, place, total_bytes
from mimir.detectors.kitsune.autoencoders import KitNet, Training, feature_groups
from mimir.detectors.kitsune.statistics import NAMES, Array, edge_features
from mimir.detectors.parameters import Parametrised, once_a_series
from mimir.detectors.pods import present
from mimir.errors import MimirError
from mimir.flows.edges import EdgeKey, EdgeSeries, Window
from mimir.units import format_bytes

SHOWN = 3  #: edges named by `explain`
SPAN_FLOOR_OWN = 0.05  #: smallest span of a feature as a share of its largest value on the edge …
SPAN_FLOOR_MEDIAN = 0.1  #: … of the feature's median span over all edges …
SPAN_FLOOR_MOST = 1e-3  #: … and of its largest: else hardly used edges make every rare packet an outlier
SPAN_CORRELATION = 0.5  #: smallest span of a correlation, which lies in −1 … 1 on every edge


class Kitsune(Parametrised):
    """Score = largest KitNET error of an edge that carries packets in the window.

    Features are damped statistics of packet sizes in 13 × λ numbers an edge: weight, mean and deviation of requests, of
    responses and of all requests of the client; magnitude, radius, covariance and correlation of requests and responses.
    Groups of correlated features have an auto-encoder each, one more reconstructs their errors. The paper works packet by
    packet; here an instance is an edge in a window, time is counted in windows, and features are scaled to 0 … 1 by the
    edge's own benign range (unknown edges: by the median range), since edges of an application differ by decades.

    Source: Mirsky et al., NDSS 2018, table I and algorithms 1–3
    Family: neural, streaming features
    Supervised: no
    Needs: bytes, packets
    Complexity: O(T E λ) features, O(instances · group size) a pass of training, O(T E · features) to score
    Limits: bounded by what benign windows ranged over; reasons name edges, not features; mean sizes hide few large packets
    """

    name = "kitsune"
    parameters = (
        "decays", "group_size", "hidden_share", "learning_rate", "epochs", "batch", "most_instances", "seed",
    )  # fmt: skip

    def __init__(self) -> None:
        self.decays = [5.0, 3.0, 1.0, 0.1, 0.01]
        self.group_size, self.hidden_share = 10, 0.75
        self.learning_rate, self.epochs, self.batch = 1.0, 5, 32
        self.most_instances, self.seed = 20_000, 1
        self._edges: tuple[EdgeKey, ...] | None = None
        self._net: KitNet | None = None
        self._low = self._span = np.zeros((0, 0))
        self._usual = np.zeros(0)

    def fit(self, benign: EdgeSeries) -> Self:
        """Learn ranges, groups and weights; MimirError for parameters out of range or without any traffic."""
        least = {"group_size": 1, "epochs": 1, "batch": 1, "most_instances": 1}
        wrong = [
            f"detector.{n} must be ≥ {v} (got {getattr(self, n)})" for n, v in least.items() if getattr(self, n) < v
        ]
        if not 0 < self.hidden_share <= 1 or self.learning_rate <= 0 or not self.decays or min(self.decays) <= 0:
            wrong.append("detector.hidden_share must lie in (0, 1], learning_rate and every one of decays above 0")
        columns = columns_of(benign)
        bytes_ = columns.fold(total_bytes(benign))
        used = bytes_ > 0
        if not used.any():
            wrong.append("kitsune needs at least one packet to fit (got none); raise evaluation.fit_s")
        if wrong:
            raise MimirError("; ".join([*wrong, "see conf/detector/kitsune.yaml"]))
        features = edge_features(benign, self.decays)
        self._edges, self._usual = columns.keys, bytes_.mean(axis=0)
        self._low, self._span = _ranges(features, used)
        x = ((features - self._low) / self._span)[used]
        rng = np.random.default_rng([self.seed, 1])
        if len(x) > self.most_instances:
            x = x[np.sort(rng.choice(len(x), self.most_instances, replace=False))]
        how = Training(self.hidden_share, self.learning_rate, self.epochs, self.batch)
        self._net = KitNet.fitted(x, feature_groups(x, self.group_size), how, self.seed)
        return self

    @once_a_series
    def _errors(self, windows: EdgeSeries) -> tuple[Array, Array, tuple[EdgeKey, ...]]:
        """KitNET errors (T, columns), bytes (T, columns), the columns."""
        self.require(self._net is not None)
        columns = columns_of(windows)
        bytes_ = columns.fold(total_bytes(windows))
        out, used = np.zeros(bytes_.shape), bytes_ > 0
        if self._net is not None and used.any():
            where = place(columns.keys, self._edges or ())
            low = np.vstack([self._low, np.zeros_like(self._low[:1])])[where]  # -1, unknown: the row put last
            span = np.vstack([self._span, np.median(self._span, axis=0)])[where]
            out[used] = self._net.score(((edge_features(windows, self.decays) - low) / span)[used])
        return out, bytes_, columns.keys

    def score(self, windows: EdgeSeries) -> Scores:
        """Largest error; contributions are those of each edge."""
        errors, _, _ = self._errors(windows)
        parts = columns_of(windows).spread(errors, total_bytes(windows))
        return Scores(windows.window_s, windows.window_start, errors.max(axis=1, initial=0.0), windows.edges, parts)

    def explain(self, window: Window) -> list[Reason]:
        """The edges that are reconstructed worst."""
        errors, bytes_, keys = self._errors(window.series)
        row, carried = errors[window.index], bytes_[window.index]
        usual = dict(zip(self._edges or (), self._usual, strict=True))
        reasons = []
        for i in [int(i) for i in np.argsort(-row, kind="stable")[:SHOWN] if row[i] > 0]:
            edge, mean = present(keys[i], window.series, window.index), float(usual.get(keys[i], 0.0))
            text = (
                f"{edge.client} → {edge.server}:{edge.server_port} does not look like its benign packets: error {row[i]:.3g}; "
                f"it carried {format_bytes(carried[i])}, on average {format_bytes(mean)}"
            )
            reasons.append(Reason(self.name, text, *edge[:3], float(carried[i]), mean, "bytes"))
        return reasons

    def state(self) -> Mapping[str, Any]:
        """Edges with ranges and mean bytes, and the networks."""
        self.require(self._net is not None)
        arrays = {"low": self._low, "span": self._span, "usual": self._usual}
        return {"edges": keys_to_json(self._edges or ()), **arrays, "net": self._net.state() if self._net else {}}

    def load_state(self, state: Mapping[str, Any]) -> Self:
        """The reverse of `state`."""
        self._edges, self._net = keys_from_json(state["edges"]), KitNet.from_state(state["net"])
        self._low, self._span, self._usual = (np.asarray(state[k]) for k in ("low", "span", "usual"))
        return self


def _ranges(features: Array, used: NDArray[np.bool_]) -> tuple[Array, Array]:
    """(edges, F) smallest value and span of every feature over the windows in which the edge is used."""
    seen = used[:, :, None]
    low = np.where(seen, features, np.inf).min(axis=0)
    high = np.where(seen, features, -np.inf).max(axis=0)
    never = ~used.any(axis=0)
    low[never], high[never] = 0.0, 0.0
    span = high - low
    level = SPAN_FLOOR_OWN * np.maximum(np.abs(high), np.abs(low))
    common = np.maximum(SPAN_FLOOR_MEDIAN * np.median(span, axis=0), SPAN_FLOOR_MOST * span.max(axis=0))
    common[NAMES.index("correlation") :: len(NAMES)] = SPAN_CORRELATION
    return low, np.maximum(np.maximum(span, np.maximum(level, common)), 1e-9)
