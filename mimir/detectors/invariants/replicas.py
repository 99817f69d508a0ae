"""I5, replica symmetry: pods of one service answer alike, so a pod that returns more bytes a request than its siblings leaks.

τᵢ = log(bytes out / requests) of pod i against the median of its siblings; neither load nor mix moves it. Blind to a leak
that is spread evenly over all pods, and to services with a single one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls

from mimir.detectors.base import Reason
from mimir.detectors.columns import NODE
from mimir.detectors.invariants import chains, tails
from mimir.detectors.leakpaths import DNS_PORT, path_through
from mimir.flows.edges import EdgeKey, EdgeSeries, Window, is_outside
from mimir.units import format_bytes, format_duration

Array = NDArray[np.float64]

MIN_REQUESTS = 5.0  #: a window, below which a pod is not judged
UNIT = 0.5  #: σ above the knee where residuals begin to count logarithmically
FLOOR = 0.05  #: smallest σ of τ
CUT = 4.0  #: standard deviations at which benign differences are cut before their variance is fitted
MIN_STRETCHES = 12
OFF = "I5 is off: no service had two pods with requests in the training recording"


@dataclass(frozen=True)
class Symmetry:
    """(T, pods) requests, bytes out and bytes expected of each judged pod of one service, and their difference in τ."""

    pods: tuple[str, ...]
    requests: Array
    sent: Array
    expected: Array
    difference: Array  #: NaN where a pod is not judged
    inverse: Array  #: 1/requests of the pod + 1/requests of its siblings


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
                s0, s1 = _spread(side.difference[known], side.inverse[known])
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


def symmetries(series: EdgeSeries) -> dict[str, Symmetry]:
    """Per service with at least two pods in the pod view: what they answered, against the median of their siblings."""
    view = series.pods
    if view is None or len(view) != len(series):
        return {}
    calls, replies = view.dense("exchanges"), view.dense("response_payload_bytes")
    answering: dict[str, dict[str, list[int]]] = {}
    for i, key in enumerate(view.edges):
        if key.server in view.workloads and not key.client.startswith(NODE) and key.server_port != DNS_PORT:
            answering.setdefault(view.workloads[key.server], {}).setdefault(key.server, []).append(i)
    return {
        service: _symmetry(tuple(pods), [calls[:, e].sum(axis=1) for e in pods.values()], [replies[:, e].sum(axis=1) for e in pods.values()])
        for service, pods in sorted(answering.items())
        if len(pods) >= 2
    }  # fmt: skip


def _symmetry(pods: tuple[str, ...], requests: Sequence[Array], sent: Sequence[Array]) -> Symmetry:
    n, out = np.stack(requests, axis=1), np.stack(sent, axis=1)
    judged = n >= MIN_REQUESTS
    tau = np.where(judged, np.log((out + 1.0) / np.maximum(n, 1.0)), np.nan)
    difference, inverse = np.full(n.shape, np.nan), np.full(n.shape, np.nan)
    others = np.full(n.shape, np.nan)
    for i in range(len(pods)):
        rest = [j for j in range(len(pods)) if j != i]
        some = judged[:, rest].any(axis=1) & judged[:, i]
        others[some, i] = np.nanmedian(tau[some][:, rest], axis=1)
        difference[some, i] = tau[some, i] - others[some, i]
        inverse[some, i] = 1 / n[some, i] + 1 / np.where(judged, n, 0.0)[some][:, rest].sum(axis=1)
    expected = np.where(np.isfinite(difference), n * np.exp(np.nan_to_num(others)), out)
    return Symmetry(pods, n, out, expected, difference, inverse)


def _spread(difference: Array, inverse: Array) -> tuple[float, float]:
    """s₀², s₁² from squared differences, the largest cut."""
    robust = 1.4826 * float(np.median(np.abs(difference)))
    squared = np.minimum(difference**2, (CUT * max(robust, FLOOR)) ** 2)
    s0, s1 = nnls(np.stack([np.ones(len(inverse)), inverse], axis=1), squared)[0]
    return max(float(s0), FLOOR**2), float(s1)


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
