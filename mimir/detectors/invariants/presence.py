"""How many pods of each service were there: probes, heartbeats and name look-ups follow pods and the clock, not users."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls

from mimir.detectors.columns import NODE
from mimir.detectors.invariants.regression import dependence
from mimir.flows.edges import EdgeKey, EdgeSeries

Array = NDArray[np.float64]

SEEN_S = 60  #: s a pod counts as present after its last packet
SURE = 4.0  #: standard errors
DRIFT_S = 600  #: s over which the mix of behaviours may drift


def pods_present(series: EdgeSeries) -> dict[str, Array]:
    """Service → (T,) pods that sent or received something in the last SEEN_S; {} without a pod view."""
    pods = series.pods
    if pods is None or len(pods) != len(series) or not pods.edges:
        return {}
    names = sorted({n for key in pods.edges for n in (key.client, key.server)} & pods.workloads.keys())
    row = {name: i for i, name in enumerate(names)}
    seen = np.zeros((len(names) + 1, len(series)), dtype=bool)  # the last row takes everything that is no pod
    windows, edges = pods.table["window"].to_numpy(), pods.table["edge"].to_numpy()
    for end in ("client", "server"):
        place = np.array([row.get(getattr(key, end), len(names)) for key in pods.edges], dtype=np.int64)
        seen[place[edges], windows] = True
    out: dict[str, Array] = {}
    for name in names:
        service = pods.workloads[name]
        out[service] = out.get(service, 0.0) + _remembered(seen[row[name]], max(1, SEEN_S // series.window_s))
    return out


def _remembered(seen: NDArray[np.bool_], windows: int) -> Array:
    """1.0 where `seen` within the last `windows` windows."""
    total = np.cumsum(seen)
    total[windows:] = total[windows:] - total[:-windows]
    return np.asarray(total > 0, dtype=np.float64)


class Presence:
    """Usual pods per service, and what each edge carries a window without any request: probes, heartbeats, look-ups.

    That background follows the pods of the client (of the server for probes from nodes). Where more pods than usual
    are present, their extra background is taken off the counts, so that scaling out is no anomaly.
    """

    def __init__(self, usual: Mapping[str, float] | None = None) -> None:
        self.usual = dict(usual or {})
        self.background: dict[str, Array] = {}  #: counter → (E,) a window at the usual number of pods
        self.error: dict[str, Array] = {}  #: standard error of the same

    def fit(self, benign: EdgeSeries, values: Mapping[str, Array], calls: str, keys: Sequence[EdgeKey]) -> None:
        """Learn the usual number of pods, and backgrounds from (T, E) `values`; `calls` names the request counts."""
        self.usual = {name: max(1.0, float(np.median(n))) for name, n in sorted(pods_present(benign).items())}
        memory = max(1, DRIFT_S // benign.window_s)
        causes = [_causes(keys, edge) for edge in range(len(keys))]
        for counter, table in values.items():
            pairs = [
                (float(table[:, e].mean()), 0.0)
                if _clocked(keys[e])
                else _idle_part(values[calls][:, c], table[:, e], memory)
                for e, c in enumerate(causes)
            ]
            self.background[counter], self.error[counter] = np.array(pairs).reshape(-1, 2).T

    def surplus(self, series: EdgeSeries, keys: Sequence[EdgeKey]) -> Array:
        """(T, E) pods present / usual pods − 1, of the service whose pods the background of an edge follows."""
        present = pods_present(series)
        out = np.zeros((len(series), len(keys)))
        for i, key in enumerate(keys):
            service = key.server if _clocked(key) else key.client
            if service in present and service in self.usual:
                out[:, i] = np.maximum(present[service], 1.0) / self.usual[service] - 1
        return out

    def state(self) -> dict[str, Any]:
        """Usual pods, backgrounds and their errors."""
        return {"usual": dict(self.usual), "background": dict(self.background), "error": dict(self.error)}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Presence:
        """The reverse of `state`."""
        out = cls(state["usual"])
        out.background = {k: np.asarray(v) for k, v in state["background"].items()}
        out.error = {k: np.asarray(v) for k, v in state["error"].items()}
        return out


def _clocked(key: EdgeKey) -> bool:
    return key.client.startswith(NODE)


def _causes(keys: Sequence[EdgeKey], edge: int) -> list[int]:
    """Edges on which the client of `edge` is asked for something."""
    return [i for i, k in enumerate(keys) if k.server == keys[edge].client and not _clocked(k)]


def _idle_part(requests: Array, values: Array, memory: int) -> tuple[float, float]:
    """Intercept ≥ 0 of a non-negative least squares fit on what was asked of the client, and its standard error.

    0 where it is less than SURE standard errors from 0 (a mix that drifts looks like a little); everything where nobody asks.
    """
    full = np.hstack([np.ones((len(values), 1)), requests])
    scale = np.maximum(np.sqrt((full**2).mean(axis=0)), 1e-12)
    beta = nnls(full / scale, values)[0]
    used = np.flatnonzero(beta > 0)
    residual = values - (full / scale) @ beta
    variance = float((residual**2).sum()) / max(len(values) - len(used), 1)
    variance *= dependence(residual / max(variance**0.5, 1e-12), memory)
    gram = (full[:, used] / scale[used]).T @ (full[:, used] / scale[used])
    error = np.sqrt(variance * np.linalg.pinv(gram)[0, 0]) if 0 in used else 0.0
    return (float(beta[0]), float(error)) if beta[0] > SURE * error else (0.0, float(error))
