"""I5, replica symmetry: pods of one service answer alike, so a pod that returns more bytes a request than its siblings leaks.

τᵢ = log(bytes out of pod i / what its siblings would have answered to the same callers, `symmetry.py`); neither load nor mix
moves it. Blind to a leak that is spread evenly over all pods, and to services with a single one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from mimir.detectors.base import Reason
from mimir.detectors.columns import NODE
from mimir.detectors.invariants import chains, tails
from mimir.detectors.invariants.symmetry import Symmetry, spread, symmetries
from mimir.detectors.leakpaths import path_through
from mimir.flows.edges import EdgeKey, EdgeSeries, Window, is_outside
from mimir.units import format_bytes, format_duration

Array = NDArray[np.float64]

UNIT = 0.5  #: σ above the knee where residuals begin to count logarithmically
MIN_STRETCHES = 12
OFF = "I5 is off: no service had two pods with requests in the training recording"


class ReplicaSymmetry:
    """Per service σ²(τ) = s₀² + s₁² (1/nᵢ + 1/n siblings), learned; sums over K windows per pod."""

    name = "I5"

    def __init__(self, memory: Sequence[int]):
        self.note = OFF
        self.lengths = tuple(sorted({1, *memory}))
        self._model: dict[str, tuple[float, float, float]] = {}  #: service → s₀², s₁², stretch
        self._scale = np.ones(1)
        self._last: tuple[EdgeSeries, dict[str, tuple[Symmetry, Array]]] | None = None

    def fit(self, benign: EdgeSeries) -> Self:
        """Learn the spread of every service with at least two pods."""
        self._model, self._last = {}, None
        self.lengths = tuple(k for k in self.lengths if k == 1 or k * MIN_STRETCHES <= len(benign))
        sides = symmetries(benign)
        for service, side in sides.items():
            known = np.isfinite(side.difference)
            if known.sum() >= 2 * MIN_STRETCHES:
                s0, s1 = spread(side.difference[known], side.inverse[known])
                z = side.difference / np.sqrt(s0 + s1 * side.inverse)
                self._model[service] = (s0, s1, float(tails.stretch(z[known][:, None], np.array([UNIT]))[0]))
        self.note = "" if self._model else OFF
        sums = [self._sums(service, side) for service, side in sides.items() if service in self._model]
        self._scale = np.ones(len(self.lengths))
        for k in range(len(self.lengths)):
            values = np.concatenate([s[:, :, k].ravel() for s in sums]) if sums else np.zeros(0)
            if len(values):
                self._scale[k] = max(1.0, float(np.sqrt((np.clip(values, -chains.CLIP, chains.CLIP) ** 2).mean())))
        return self

    def _sums(self, service: str, side: Symmetry) -> Array:
        """(T, pods, K) sums of normal equivalents over the last K windows, each in units of its σ."""
        s0, s1, stretch = self._model[service]
        z = side.difference / np.sqrt(s0 + s1 * side.inverse)
        known = np.isfinite(z)
        size = z.shape[1]
        normal = tails.normal_equivalent(np.where(known, z, 0.0), np.full(size, stretch), np.full(size, UNIT))
        count = [np.maximum(chains.window_sums(known.astype(np.float64), k), 1.0) for k in self.lengths]
        return np.stack(
            [chains.window_sums(normal, k) / np.sqrt(n) for k, n in zip(self.lengths, count, strict=True)], axis=2
        )

    def judge(self, windows: EdgeSeries) -> dict[str, tuple[Symmetry, Array]]:
        """Per service its symmetry and the (T, pods, K) standardised sums; kept for the next call with the same series."""
        if self._last is None or self._last[0] is not windows:
            found = {}
            for service, side in symmetries(windows).items():
                if service in self._model:
                    z = self._sums(service, side) / self._scale
                    held = [chains.held(z[:, i], self.lengths) for i in range(z.shape[1])]
                    found[service] = (side, np.stack(held, axis=1))
            self._last = (windows, found)
        return self._last[1]

    def surprise(self, windows: EdgeSeries) -> tuple[Array, Array]:
        """(T,) surprise of the most asymmetric pod, corrected for their number; (T, E) that of the answering service."""
        whole, edges = np.zeros(len(windows)), np.zeros((len(windows), len(windows.edges)))
        judged = self.judge(windows)
        pods = sum(len(side.pods) for side, _ in judged.values())
        for service, (_, z) in judged.items():
            mine = np.maximum(tails.surprise(z.max(axis=(1, 2)), 1e6) - np.log10(max(pods, 1)), 0.0)
            whole = np.maximum(whole, mine)
            for i, key in enumerate(windows.edges):
                if key.server == service:
                    edges[:, i] = tails.bend(mine)
        return tails.bend(whole), edges

    def reasons(self, window: Window) -> list[Reason]:
        """The most asymmetric pod."""
        best, found = 0.0, ("", 0, 0)
        judged = self.judge(window.series)
        for service, (_, z) in judged.items():
            pod, k = np.unravel_index(int(z[window.index].argmax()), z.shape[1:])
            if z[window.index, pod, k] > best:
                best, found = float(z[window.index, pod, k]), (service, int(pod), int(k))
        return [self._reason(window, judged[found[0]][0], found, best)] if best > tails.KNEE else []

    def _reason(self, window: Window, side: Symmetry, found: tuple[str, int, int], z: float) -> Reason:
        service, number, k = found
        pod, length = side.pods[number], self.lengths[k]
        span = slice(max(0, window.index + 1 - length), window.index + 1)
        sent, expected = float(side.sent[span, number].sum()), float(side.expected[span, number].sum())
        edge = _busiest(window, service)
        path = path_through(
            [k for k in window.series.edges if not k.client.startswith(NODE)],
            window.series.sensitive,
            service,
            edge.client,
        )
        s0, s1, _ = self._model[service]
        inverse = side.inverse[span, number]
        sigma = expected * float(
            np.sqrt((s0 + s1 * inverse[np.isfinite(inverse)]).mean() / max(span.stop - span.start, 1))
        )
        text = (
            f"{pod}, one of {len(side.pods)} pods of {service} ({edge.client} → {edge.server}:{edge.server_port}), returned "
            f"{format_bytes(sent)} in the last {format_duration(length * window.series.window_s)}; at the bytes a request of its "
            f"siblings it would be {format_bytes(expected)} ± {format_bytes(sigma)} (I5, replica symmetry)"
        )
        excess, windows = sent - expected, span.stop - span.start
        return Reason(
            self.name, text, edge.client, edge.server, edge.server_port, sent, expected, "bytes",
            p_value=float(10 ** -float(tails.surprise(np.array(z), 1e6))), path=path, pods=(pod,), technique="T1090.001", proto=edge.proto,
            since=int(window.series.window_start[span.start]),
            bytes_estimate=max(excess, 0.0) / windows, bytes_low=max(excess - 1.96 * sigma, 0.0) / windows,
            bytes_high=max(excess + 1.96 * sigma, 0.0) / windows,
        )  # fmt: skip

    def state(self) -> Mapping[str, Any]:
        """Spread of each service."""
        model = {service: list(values) for service, values in self._model.items()}
        return {"model": model, "lengths": list(self.lengths), "scale": self._scale, "note": self.note}

    def load_state(self, state: Mapping[str, Any]) -> Self:
        """The reverse of `state`."""
        self._model = {s: (float(v[0]), float(v[1]), float(v[2])) for s, v in state["model"].items()}
        self.lengths, self._scale = tuple(int(k) for k in state["lengths"]), np.asarray(state["scale"])
        self.note, self._last = str(state["note"]), None
        return self


def _busiest(window: Window, service: str) -> EdgeKey:
    """The edge of the series on which the service (or one of its pods) answers most."""
    series = window.series
    mine = [
        i for i, k in enumerate(series.edges)
        if (k.server == service or series.workloads.get(k.server) == service) and not k.client.startswith(NODE)
    ]  # fmt: skip
    row = series.dense("response_payload_bytes")[window.index]
    outside = [i for i in mine if is_outside(series.edges[i].client)]
    return series.edges[max(outside or mine, key=lambda i: row[i])]
