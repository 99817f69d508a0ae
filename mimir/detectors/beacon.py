"""Beacons: connections to the outside that are too regular to be people (the four scores of RITA v5, Active Countermeasures)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from mimir.detectors.base import Reason, Scores
from mimir.detectors.columns import canonical, columns_of, keys_from_json, keys_to_json
from mimir.detectors.leakpaths import technique_of
from mimir.detectors.parameters import Parametrised, once_a_series
from mimir.detectors.pods import present
from mimir.errors import MimirError
from mimir.flows.edges import EdgeKey, EdgeSeries, Window, is_outside

SHOWN = 3
LEAST_RANGE = 10.0  #: s or bytes; quartiles closer together say nothing about skewness
JITTER = 0.05  #: bars of the histogram that differ by less than this share of the highest are one level
LEAST_BARS = 11  #: bars needed before two levels count as a pattern
Values = NDArray[np.float64]


class Beacon(NamedTuple):
    """The four scores of one edge, each 0 (irregular) … 1 (regular)."""

    interval: float
    size: float
    histogram: float
    duration: float

    @property
    def mean(self) -> float:
        """The beacon score."""
        return sum(self) / len(self)


def regularity(values: Values) -> float:
    """Mean of 1 − |Bowley skewness| and of 1 − MAD / median, each at least 0; quartiles are interpolated.

    >>> regularity(np.array([60.0, 60, 60, 60]))
    1.0
    >>> regularity(np.array([10.0, 20, 30, 60, 100]))  # quartiles 20, 30, 60: skewness 0.5; MAD 20 of a median of 30
    0.41666666666666663
    """
    low, middle, high = np.quantile(values, [0.25, 0.5, 0.75])
    flat = high - low < LEAST_RANGE or middle in (low, high)
    skewness = 0.0 if flat else (low + high - 2 * middle) / (high - low)
    deviation = float(np.median(np.abs(values - middle)))
    tight = max(0.0, (middle - deviation) / middle) if middle >= 1 else float(deviation < 1)
    return float((1 - abs(skewness) + tight) / 2)


def histogram_score(bars: Values) -> float:
    """Larger one of 1 − coefficient of variation of all bars, and the share of bars on the two most common levels.

    The second one needs 11 bars that are not empty; levels are multiples of 5 % of the highest bar.

    >>> histogram_score(np.array([4.0] * 12))
    1.0
    >>> histogram_score(np.array([10.0, 40] * 6))  # two levels in turns: all bars lie on them
    1.0
    """
    if not bars.any():
        return 0.0
    even = max(0.0, 1 - float(bars.std() / bars.mean()))
    used = bars[bars > 0]
    if len(used) < LEAST_BARS:
        return even
    levels = np.floor(used / np.ceil(JITTER * used.max()))
    most = np.sort(np.unique(levels, return_counts=True)[1])[-2:].sum()
    return max(even, min(1.0, float(most) / (len(used) - 1)))


def duration_score(first_s: float, last_s: float, bars: Values, lookback_s: float) -> float:
    """Larger one of the share of the time between first and last connection, and of the longest run of bars in half of all.

    >>> duration_score(0, 900, np.array([1.0, 1, 0, 0]), 3600)  # a quarter of the hour; a run of 2 of 4 bars
    1.0
    """
    run = longest = 0
    for bar in bars:
        run = run + 1 if bar > 0 else 0
        longest = max(longest, run)
    return min(1.0, max((last_s - first_s) / lookback_s, longest / (len(bars) / 2)))


class BeaconDetector(Parametrised):
    """Score = beacon score of an edge to a server outside, less the largest one that the edge had in training; maximum.

    The beacon score is the mean of four: regularity of the intervals between connections, of their sizes (payload sent a
    connection), an even or two-level histogram of connections over time, and how long it lasts. RITA looks back a day in
    bars of an hour; here it is `lookback_s` in `bins` bars. Formulas from its published descriptions, not from its code.
    Connections are known per window only, so one is taken at the start of every window that has any: beacons faster than
    a window look as regular as windows. An edge counts in windows in which it has `min_connections` such windows behind it.

    Source: RITA v5, Active Countermeasures 2024 (published descriptions of its scores)
    Family: streaming, per edge to the outside
    Supervised: no
    Needs: connections, payload bytes
    Complexity: O(T E L) to fit and to score, with L windows of look-back, for edges to servers outside only
    Limits: blind to volume, to what stays inside, to replies to clients outside, to one long connection, to jitter
    """

    name = "beacon"
    parameters = ("lookback_s", "bins", "min_connections")

    def __init__(self) -> None:
        self.lookback_s, self.bins = 3600, 20
        self.min_connections = 4
        self._usual: dict[EdgeKey, float] | None = None

    def fit(self, benign: EdgeSeries) -> Self:
        """Learn the largest beacon score of every outside edge; MimirError for a look-back of fewer windows than bars."""
        allowed = {"bins": 2, "min_connections": 3}
        low = {n: getattr(self, n) for n, least in allowed.items() if getattr(self, n) < least}
        wrong = [f"detector.{n} must be ≥ {allowed[n]} (got {v})" for n, v in low.items()]
        if self.lookback_s < self.bins * benign.window_s:
            need = f"a window of {benign.window_s} s for each of {self.bins} bars"
            wrong.append(f"detector.lookback_s must hold {need} (got {self.lookback_s})")
        if wrong:
            raise MimirError("; ".join([*wrong, "see conf/detector/beacon.yaml"]))
        scores, _, keys = self._beacons(benign)
        self._usual = {
            k: float(s) for k, s in zip(keys, scores.max(axis=0, initial=0.0), strict=True) if is_outside(k.server)
        }
        return self

    @once_a_series
    def _beacons(self, series: EdgeSeries) -> tuple[Values, dict[tuple[int, int], Beacon], tuple[EdgeKey, ...]]:
        """Beacon scores (T, columns), their parts by (window, column), the columns."""
        columns = columns_of(series)
        began, sent = columns.sum(series, "connections"), columns.sum(series, "request_payload_bytes")
        scores, parts = np.zeros(began.shape), {}
        for i, key in enumerate(columns.keys):
            if is_outside(key.server):
                for t in np.flatnonzero(began[:, i]):
                    if found := self._judge(began[:, i], sent[:, i], int(t), series.window_s):
                        parts[int(t), i] = found
                        scores[t, i] = found.mean
        return scores, parts, columns.keys

    def _judge(self, began: Values, sent: Values, t: int, window_s: int) -> Beacon | None:
        """Scores of one edge at window t, from the look-back that ends with it."""
        windows = self.lookback_s // window_s
        first = max(0, t + 1 - windows)
        active = first + np.flatnonzero(began[first : t + 1])
        if len(active) < self.min_connections:
            return None
        age = windows - 1 - (t - active)  # place in the look-back, so that the last window is the last of the last bar
        bars = np.bincount(age * self.bins // windows, weights=began[active], minlength=self.bins).astype(float)
        return Beacon(
            regularity(np.diff(active) * float(window_s)),
            regularity(sent[active] / began[active]),
            histogram_score(bars),
            duration_score(float(active[0] * window_s), float((t + 1) * window_s), bars, float(self.lookback_s)),
        )

    def _excess(self, scores: Values, keys: tuple[EdgeKey, ...]) -> Values:
        usual = self._usual or {}
        return np.asarray(np.maximum(scores - np.array([usual.get(k, 0.0) for k in keys]), 0.0))

    def score(self, windows: EdgeSeries) -> Scores:
        """Largest excess of a beacon score, 0 … 1; contributions are those of each edge."""
        self.require(self._usual is not None)
        scores, _, keys = self._beacons(windows)
        excess = self._excess(scores, keys)
        spread = columns_of(windows).spread(excess, windows.dense("connections"))
        return Scores(windows.window_s, windows.window_start, excess.max(axis=1, initial=0.0), windows.edges, spread)

    def explain(self, window: Window) -> list[Reason]:
        """The edges whose beacon score rose most, with the four parts."""
        self.require(self._usual is not None)
        series, usual = window.series, self._usual or {}
        scores, parts, keys = self._beacons(series)
        row = self._excess(scores, keys)[window.index]
        reasons = []
        for i in [int(i) for i in np.argsort(-row, kind="stable")[:SHOWN] if row[i] > 0]:
            edge, four = present(keys[i], series, window.index), parts[window.index, i]
            told = ", ".join(f"{name} {value:.2f}" for name, value in four._asdict().items())
            text = (
                f"{edge.client} → {edge.server}:{edge.server_port} connects like a beacon: score {four.mean:.2f} ({told}), "
                f"at most {usual.get(keys[i], 0.0):.2f} in training"
            )
            path = (canonical(edge, series.workloads).client, edge.server)
            reasons.append(Reason(self.name, text, *edge[:3], four.mean, usual.get(keys[i], 0.0), "beacon score",
                                  path=path, technique=technique_of(path, edge)))  # fmt: skip
        return reasons

    def state(self) -> Mapping[str, Any]:
        """Outside edges and the largest beacon score of each."""
        self.require(self._usual is not None)
        usual = self._usual or {}
        return {"edges": keys_to_json(tuple(usual)), "usual": np.array(list(usual.values()))}

    def load_state(self, state: Mapping[str, Any]) -> Self:
        """The reverse of `state`."""
        self._usual = dict(zip(keys_from_json(state["edges"]), map(float, state["usual"]), strict=True))
        return self
