"""I4, relay balance: what a service returns to its callers is what its callees returned to it, plus what requests explain."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from mimir.detectors.base import Reason
from mimir.detectors.columns import NODE, aligned, columns_of, keys_from_json, keys_to_json, place, total_bytes
from mimir.detectors.invariants.residuals import Judged, LinearInvariants
from mimir.detectors.leakpaths import DNS_PORT, path_through, technique_of
from mimir.detectors.pods import pods_behind, present, real_names
from mimir.flows.edges import EdgeKey, EdgeSeries, Window, is_outside
from mimir.units import format_bytes, format_duration

Array = NDArray[np.float64]

FLOOR_BYTES = 250.0
DRIFT = 0.01  #: contents and caches drift from hour to hour by about this share of the bytes
REPLIES = "response_payload_bytes"
OFF = "I4 is off: no service both answers and asks in the training recording"


class RelayBalance:
    """Per service: reply bytes to its callers, explained by reply bytes of its callees and by the requests it got.

    Blind to data that a relay takes from a callee and passes on in the same way as replies usually pass through it.
    """

    name = "I4"

    def __init__(self, ridge: float, memory: Sequence[int]):
        self.note = OFF
        self._model = LinearInvariants(ridge, memory)
        self._keys: tuple[EdgeKey, ...] = ()
        self._services: tuple[str, ...] = ()
        self._last: tuple[EdgeSeries, Judged] | None = None

    def fit(self, benign: EdgeSeries) -> Self:
        """Learn the balance of every service that has callers and callees."""
        columns = columns_of(benign)
        used = columns.fold(total_bytes(benign)).sum(axis=0) > 0
        self._keys = tuple(
            sorted(
                k for k, u in zip(columns.keys, used, strict=True)
                if u and not k.client.startswith(NODE) and DNS_PORT not in (k.server_port,)
            )
        )  # fmt: skip
        clients, servers = {k.client for k in self._keys}, {k.server for k in self._keys}
        self._services = tuple(sorted(s for s in clients & servers if not is_outside(s)))
        self._model.fit(self._targets(benign), FLOOR_BYTES, [DRIFT] * len(self._services), benign.window_s)
        self.note = "" if self._services else OFF
        self._last = None
        return self

    def _sides(self, service: str) -> tuple[list[int], list[int]]:
        """Edges on which it is asked, and on which it asks."""
        asked = [i for i, k in enumerate(self._keys) if k.server == service]
        return asked, [i for i, k in enumerate(self._keys) if k.client == service]

    def _targets(self, series: EdgeSeries) -> list[tuple[Array, Array]]:
        replies, calls = aligned(series, REPLIES, self._keys), aligned(series, "exchanges", self._keys)
        out = []
        for service in self._services:
            asked, asks = self._sides(service)
            out.append((replies[:, asked].sum(axis=1), np.hstack([replies[:, asks], calls[:, asked]])))
        return out

    def _judge(self, windows: EdgeSeries) -> Judged:
        if self._last is None or self._last[0] is not windows:
            self._last = (windows, self._model.judge(self._targets(windows)))
        return self._last[1]

    def surprise(self, windows: EdgeSeries) -> tuple[Array, Array]:
        """(T,) surprise of the least balanced service; (T, E) that of the service that answers on each edge."""
        judged, columns = self._judge(windows), columns_of(windows)
        if not self._services:
            return np.zeros(len(windows)), np.zeros((len(windows), len(windows.edges)))
        per_edge = np.zeros((len(windows), len(self._keys)))
        for n, service in enumerate(self._services):
            per_edge[:, self._sides(service)[0]] = judged.surprise[:, n : n + 1]
        out, where = np.zeros((len(windows), len(columns.keys))), place(columns.keys, self._keys)
        out[:, where >= 0] = per_edge[:, where[where >= 0]]
        return judged.surprise.max(axis=1), columns.spread(out, total_bytes(windows))

    def reasons(self, window: Window) -> list[Reason]:
        """The least balanced service."""
        judged = self._judge(window.series)
        if not self._services or not judged.surprise[window.index].max() > 0:
            return []
        return [self._reason(window, judged, int(judged.surprise[window.index].argmax()))]

    def _reason(self, window: Window, judged: Judged, number: int) -> Reason:
        service, span = self._services[number], judged.span(window.index, number)
        asked = self._sides(service)[0]
        replies = aligned(window.series, REPLIES, self._keys)[span].sum(axis=0)
        column = self._keys[max(asked, key=lambda i: replies[i])]
        edge = present(column, window.series, window.index)
        observed, expected = float(judged.observed[span, number].sum()), float(judged.expected[span, number].sum())
        sigma = float(np.sqrt((judged.sigma[span, number] ** 2).sum()))
        windows, excess = span.stop - span.start, max(observed - expected, 0.0)
        path = real_names(
            path_through(self._keys, window.series.sensitive, service, column.client), window.series, window.index
        )
        text = (
            f"{service} returned {format_bytes(observed)} to its callers in the last {format_duration(windows * window.series.window_s)}, "
            f"most of it {edge.client} → {edge.server}:{edge.server_port}; what its callees returned and its requests explain "
            f"{format_bytes(max(expected, 0.0))} ± {format_bytes(sigma)} (I4, relay balance)"
        )
        return Reason(
            self.name, text, edge.client, edge.server, edge.server_port, observed, expected, "bytes",
            p_value=float(10 ** -judged.surprise[window.index, number]), path=path,
            pods=pods_behind(window.series, span, column, REPLIES, max(expected, 0.0)), technique=technique_of(path, column), proto=edge.proto, since=int(window.series.window_start[span.start]),
            bytes_estimate=excess / windows, bytes_low=max(excess - 1.96 * sigma, 0.0) / windows,
            bytes_high=(excess + 1.96 * sigma) / windows,
        )  # fmt: skip

    def state(self) -> Mapping[str, Any]:
        """Edges, services and what was learned about them."""
        return {
            "edges": keys_to_json(self._keys),
            "services": list(self._services),
            "model": self._model.state(),
            "note": self.note,
        }

    def load_state(self, state: Mapping[str, Any]) -> Self:
        """The reverse of `state`."""
        self._keys, self._services = keys_from_json(state["edges"]), tuple(state["services"])
        self._model.load_state(state["model"])
        self.note, self._last = str(state["note"]), None
        return self
