"""MIDAS, MIDAS-R and MIDAS-F: sudden bursts on edges and nodes by a chi-squared statistic.

Bhatia, Hooi, Yoon, Shin & Faloutsos, "MIDAS: Microcluster-based detector of anomalies in edge streams", AAAI 2020;
Bhatia, Liu, Hooi, Yoon, Shin & Faloutsos, "Real-time anomaly detection in edge streams", ACM TKDD 16(4), 2022.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Self

import numpy as np

from mimir.detectors.base import Reason, Scores
from mimir.detectors.columns import columns_of, keys_from_json, keys_to_json, total_bytes
from mimir.detectors.midas.counts import Tally, Vector, grown, numbers, tick
from mimir.detectors.parameters import Parametrised, once_a_series
from mimir.detectors.pods import present
from mimir.errors import MimirError
from mimir.flows.edges import EdgeKey, EdgeSeries, Window
from mimir.units import format_bytes

SHOWN = 3  #: edges named by `explain`
COUNTED = {"connections": "connections", "packets": "packets", "bytes": "IP bytes"}


class Midas(Parametrised):
    """Score = largest (a − s/t)² t² / (s (t − 1)) of an edge: a counts this window, s all windows so far, t windows so far.

    A window is a tick and an edge is scored once, after its last arrival of the tick. Counts are exact, one cell an edge:
    the count-min sketches of the paper bound memory for millions of edges, services have hundreds. `weight` says what is
    counted: connections (the paper's stream of edges), packets or bytes. Windows between two recordings are no ticks.

    Source: Bhatia et al., AAAI 2020, definition 1 and algorithm 1
    Family: streaming graph
    Supervised: no
    Needs: bytes (or packets or connections, by `weight`)
    Complexity: O(T E) to fit and to score, one window after the other
    Limits: load that follows the day is a burst too; a slow or steady leak becomes its own past
    """

    name = "midas"
    parameters: ClassVar[tuple[str, ...]] = ("weight",)
    nodes = False  #: also score all edges of a client, and of a server
    filters = False  #: keep abnormal counts out of s
    decay = 0.0  #: what is left of a at the next tick

    def __init__(self) -> None:
        self.weight = "bytes"
        self._keys: tuple[EdgeKey, ...] | None = None
        self._ticks = 0
        self._tallies: tuple[Tally, ...] = ()
        self._limits = np.full(3, np.inf)  #: MIDAS-F: scores above stay out of s; edges, clients, servers

    def fit(self, benign: EdgeSeries) -> Self:
        """Count the benign windows; MimirError for a weight or decay that is not allowed."""
        if self.weight not in COUNTED or not 0 <= self.decay < 1:
            raise MimirError(
                f"detector.weight must be one of {', '.join(COUNTED)} (got {self.weight!r}) and detector.decay in [0, 1) "
                f"(got {self.decay}); see conf/detector/{self.name}.yaml"
            )
        self._keys, self._ticks, self._limits = (), 0, np.full(3, np.inf)
        self._tallies = tuple(Tally(np.zeros(0), np.zeros(0), np.zeros(0)) for _ in range(3))
        scores, keys, tallies, ticks = self._run(benign)
        self._limits = self._learn_limits(scores)
        self._keys, self._tallies, self._ticks = keys, tallies, ticks
        return self

    def _learn_limits(self, scores: list[Vector]) -> Vector:
        return np.full(3, np.inf)

    def _counts(self, series: EdgeSeries) -> Vector:
        if self.weight == "packets":
            return series.dense("request_packets") + series.dense("response_packets")
        return total_bytes(series) if self.weight == "bytes" else series.dense("connections")

    @once_a_series
    def _run(self, series: EdgeSeries) -> tuple[list[Vector], tuple[EdgeKey, ...], tuple[Tally, ...], int]:
        """Scores (T, cells) of edges, clients and servers, and the state afterwards. Nothing of the detector changes."""
        columns, known = columns_of(series), self._keys or ()
        keys = tuple(dict.fromkeys((*known, *columns.keys)))
        counts = np.zeros((len(series), len(keys)))
        place = {key: i for i, key in enumerate(keys)}
        counts[:, [place[k] for k in columns.keys]] = columns.fold(self._counts(series))
        cells = [np.arange(len(keys)), numbers([k.client for k in keys]), numbers([k.server for k in keys])]
        kinds = range(3 if self.nodes else 1)
        tallies = [grown(tally, int(c.max(initial=-1)) + 1) for tally, c in zip(self._tallies, cells, strict=True)]
        out = [np.zeros((len(series), len(tally.a))) for tally in tallies]
        for row, arrived in enumerate(counts):
            for kind, limit in zip(kinds, self._limits, strict=False):
                added = np.bincount(cells[kind], weights=arrived, minlength=len(tallies[kind].a)).astype(float)
                above = limit if self.filters else None
                tallies[kind] = tick(tallies[kind], added, self._ticks + row + 1, self.decay, above)
                out[kind][row] = tallies[kind].score
        by_edge = [scores[:, c] for scores, c in zip(out, cells, strict=True)]
        return [np.where(counts > 0, s, 0.0) for s in by_edge], keys, tuple(tallies), self._ticks + len(series)

    def score(self, windows: EdgeSeries) -> Scores:
        """Largest statistic; contributions are those of the edge, or of its client or server where larger."""
        self.require(self._keys is not None)
        parts, keys, _, _ = self._run(windows)
        top, columns = np.maximum.reduce(parts), columns_of(windows)
        place = {key: i for i, key in enumerate(keys)}
        mine = top[:, [place[k] for k in columns.keys]].reshape(len(windows), len(columns.keys))
        spread = columns.spread(mine, self._counts(windows))
        return Scores(windows.window_s, windows.window_start, top.max(axis=1, initial=0.0), windows.edges, spread)

    def explain(self, window: Window) -> list[Reason]:
        """The edges with the largest statistic, with what they carried on average in training."""
        self.require(self._keys is not None)
        series, columns = window.series, columns_of(window.series)
        parts, keys, _, _ = self._run(series)
        row = np.maximum.reduce(parts)[window.index]
        share = 1 - self.decay if self.filters else 1.0  # s of MIDAS-F adds up decayed counts
        means = self._tallies[0].s / max(self._ticks, 1) * share
        counts = columns.fold(self._counts(series))[window.index]
        seen = dict(zip(columns.keys, counts, strict=True))
        reasons = []
        for i in np.argsort(-row, kind="stable")[:SHOWN]:
            if row[i] > 0 and keys[i] in seen:
                mean = float(means[i]) if i < len(means) else 0.0
                edge = present(keys[i], series, window.index)
                reasons.append(self._reason(edge, float(row[i]), float(seen[keys[i]]), mean))
        return reasons

    def _reason(self, edge: EdgeKey, score: float, observed: float, mean: float) -> Reason:
        what = COUNTED[self.weight]
        much, usual = (format_bytes(v) if self.weight == "bytes" else f"{v:.0f} {what}" for v in (observed, mean))
        text = (
            f"{edge.client} → {edge.server}:{edge.server_port} burst: {much} in this window, {usual} a window in training "
            f"(chi-squared {score:.3g})"
        )
        return Reason(self.name, text, *edge[:3], observed, mean, "bytes" if self.weight == "bytes" else what)

    def state(self) -> Mapping[str, Any]:
        """Edges, counts, ticks and limits."""
        self.require(self._keys is not None)
        tallies = [tally._asdict() for tally in self._tallies]
        numbers_ = {"ticks": self._ticks, "limits": self._limits, "tallies": tallies}
        return {"edges": keys_to_json(self._keys or ()), **numbers_}

    def load_state(self, state: Mapping[str, Any]) -> Self:
        """The reverse of `state`."""
        self._keys, self._ticks = keys_from_json(state["edges"]), int(state["ticks"])
        self._limits = np.asarray(state["limits"])
        self._tallies = tuple(Tally(*(np.asarray(t[f]) for f in Tally._fields)) for t in state["tallies"])
        return self


class MidasR(Midas):
    """MIDAS with relations: the largest statistic of an edge, of all edges of its client, or of all of its server.

    Counts of a tick do not start at 0 but keep the share `decay` of those before, so a burst over several windows adds up.
    s does not decay, as in the paper: on a steady edge a is larger than s/t by the factor 1/(1 − decay).

    Source: Bhatia et al., AAAI 2020, section on relations, algorithm 2
    Family: streaming graph
    Supervised: no
    Needs: bytes (or packets or connections, by `weight`)
    Complexity: O(T E) to fit and to score, one window after the other
    Limits: as `midas`; one busy edge of a node hides others
    """

    name = "midas_r"
    parameters: ClassVar[tuple[str, ...]] = ("weight", "decay")
    nodes = True

    def __init__(self) -> None:
        super().__init__()
        self.decay = 0.5


class MidasF(MidasR):
    """MIDAS-R with the filtering core: what scored above a limit in one tick is not merged into the past.

    s grows by its own mean instead, so a leak cannot become its own past. The paper sets the limit by
    hand; here it is the `filter_quantile` of the scores of the benign windows, apart for edges, clients and servers.
    A cell without any past scores a (t − 1), what definition 1 gives for it.

    Source: Bhatia et al., ACM TKDD 16(4), 2022, section on filtering, algorithm 3
    Family: streaming graph
    Supervised: no
    Needs: bytes (or packets or connections, by `weight`)
    Complexity: O(T E) to fit and to score, one window after the other
    Limits: a lasting benign change (a release that sends more) stays abnormal for ever
    """

    name = "midas_f"
    parameters = ("weight", "decay", "filter_quantile")
    filters = True

    def __init__(self) -> None:
        super().__init__()
        self.filter_quantile = 0.999

    def _learn_limits(self, scores: list[Vector]) -> Vector:
        if not 0 < self.filter_quantile <= 1:
            raise MimirError(
                f"detector.filter_quantile must lie in (0, 1] (got {self.filter_quantile}); see conf/detector/midas_f.yaml"
            )
        return np.array([np.quantile(s[s > 0], self.filter_quantile) if (s > 0).any() else np.inf for s in scores])
