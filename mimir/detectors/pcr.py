"""Floor: the producer–consumer ratio, a service that begins to send more than it takes (Bullard & Gerth, FloCon 2014)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from mimir.detectors.base import Reason, Scores
from mimir.detectors.parameters import Parametrised, once_a_series
from mimir.detectors.services import in_and_out, share_out
from mimir.flows.edges import EdgeSeries, Window
from mimir.units import format_bytes

SHOWN = 3  #: services named by `explain`
MAD_TO_SIGMA = 1.4826  #: the median absolute deviation of a normal variable, times this, is its standard deviation
SCALE_FLOOR = 0.01  #: of the ratio, which lies in [−1, 1]: a service that never moves would make any packet infinite
LEAST_BYTES = 1000.0  #: added to in + out: a service that saw three packets has no ratio to speak of


class Pcr(Parametrised):
    """Score = max over services of z, where r = (out − in) / (out + in) in payload bytes and z = (r − median) / (1.4826 MAD).

    One-sided: only a turn towards sending counts. The median absolute deviation has a floor of 0.01, the sum out + in
    gets 1 kB. A service unknown in training is compared with r = 0 and the floor.

    Source: Bullard & Gerth, FloCon 2014 (the ratio); Iglewicz & Hoaglin 1993 (the robust z)
    Family: floor
    Supervised: no
    Needs: bytes
    Complexity: O(T (E + S)) to fit and to score, S services
    Limits: a relay that hands on what it takes keeps its ratio; a store that sends all day has little room left to turn
    """

    name = "pcr"

    def __init__(self) -> None:
        self._services: tuple[str, ...] | None = None
        self._median = self._scale = np.zeros(0)

    def fit(self, benign: EdgeSeries) -> Self:
        """Learn median and spread of the ratio of every service, over the windows in which it spoke."""
        services, taken, sent = in_and_out(benign)
        ratio, spoke = _ratio(taken, sent), (taken + sent) > 0
        median, scale = np.zeros(len(services)), np.full(len(services), SCALE_FLOOR)
        for i in np.flatnonzero(spoke.any(axis=0)):
            values = ratio[spoke[:, i], i]
            median[i] = np.median(values)
            scale[i] = max(SCALE_FLOOR, MAD_TO_SIGMA * float(np.median(np.abs(values - median[i]))))
        self._services, self._median, self._scale = services, median, scale
        return self

    @once_a_series
    def _deviations(self, windows: EdgeSeries) -> tuple[Sequence[str], NDArray[np.float64], NDArray[np.float64]]:
        """Services of the series, (T, S) ratio and (T, S) z, 0 where a service is silent."""
        self.require(self._services is not None)
        services, taken, sent = in_and_out(windows)
        known = {name: i for i, name in enumerate(self._services or ())}
        median = np.array([self._median[known[s]] if s in known else 0.0 for s in services])
        scale = np.array([self._scale[known[s]] if s in known else SCALE_FLOOR for s in services])
        ratio = _ratio(taken, sent)
        return services, ratio, np.where(taken + sent > 0, (ratio - median) / scale, 0.0)

    def score(self, windows: EdgeSeries) -> Scores:
        """Largest z, at least 0; each edge contributes the z > 0 of its sender, by its share of what the sender sent."""
        services, _, z = self._deviations(windows)
        up = np.maximum(z, 0.0)
        score = up.max(axis=1) if len(services) else np.zeros(len(windows))
        return Scores(windows.window_s, windows.window_start, score, windows.edges, share_out(windows, services, up))

    def explain(self, window: Window) -> list[Reason]:
        """The services that turned most towards sending, each with the edge on which it sent most."""
        services, ratio, z = self._deviations(window.series)
        known = {name: i for i, name in enumerate(self._services or ())}
        row, parts = z[window.index], share_out(window.series, services, np.ones_like(z))[window.index]
        reasons = []
        for i in np.argsort(-row, kind="stable")[:SHOWN]:
            only = np.zeros_like(z)
            only[window.index, i] = 1.0
            mine = share_out(window.series, services, only)[window.index] * parts
            if row[i] > 0 and mine.any():
                usual = float(self._median[known[services[i]]]) if services[i] in known else 0.0
                reasons.append(
                    self._reason(window, int(mine.argmax()), services[i], float(ratio[window.index, i]), usual)
                )
        return reasons

    def _reason(self, window: Window, edge_index: int, service: str, ratio: float, usual: float) -> Reason:
        series, edge = window.series, window.series.edges[edge_index]
        sends = series.workloads.get(edge.client, edge.client) == service
        counter = "request_payload_bytes" if sends else "response_payload_bytes"
        sent = format_bytes(float(series.dense(counter)[window.index, edge_index]))
        text = (
            f"{service} turned towards sending: (out − in)/(out + in) is {ratio:+.3f}, usually {usual:+.3f}; most of it "
            f"({sent}) on {edge.client} → {edge.server}:{edge.server_port}"
        )
        return Reason(self.name, text, edge.client, edge.server, edge.server_port, ratio, usual, "ratio")

    def state(self) -> Mapping[str, Any]:
        """Services, median and spread of their ratio."""
        self.require(self._services is not None)
        return {"services": list(self._services or ()), "median": self._median, "scale": self._scale}

    def load_state(self, state: Mapping[str, Any]) -> Self:
        """The reverse of `state`."""
        self._services = tuple(map(str, state["services"]))
        self._median, self._scale = np.asarray(state["median"]), np.asarray(state["scale"])
        return self


def _ratio(taken: NDArray[np.float64], sent: NDArray[np.float64]) -> NDArray[np.float64]:
    return (sent - taken) / (sent + taken + LEAST_BYTES)
