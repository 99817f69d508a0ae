"""What every pod of a service answered, against what its siblings would have answered to the same callers.

Siblings need not serve the same callers: a gRPC client keeps one connection to one pod for ever, so one pod may get only
what checkout asks and another only what the front end asks. Bytes a request are therefore compared caller by caller, and
added up (indirect standardisation, as of death rates; Breslow & Day 1987, chapter 2). Callers that no sibling serves are left out.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls

from mimir.detectors.columns import NODE, canonical
from mimir.detectors.leakpaths import DNS_PORT
from mimir.flows.edges import EdgeSeries

Array = NDArray[np.float64]

MIN_REQUESTS = 5.0  #: a window, of one caller, below which a pod is not judged
FLOOR = 0.05  #: smallest σ of τ
CUT = 4.0  #: standard deviations at which benign differences are cut before their variance is fitted


@dataclass(frozen=True)
class Symmetry:
    """(T, pods) bytes out and bytes expected of each pod of one service, over comparable callers, and their difference in τ."""

    pods: tuple[str, ...]
    sent: Array
    expected: Array
    difference: Array  #: NaN where a pod is not judged
    inverse: Array  #: 1/requests of the pod + 1/requests of its siblings


def symmetries(series: EdgeSeries) -> dict[str, Symmetry]:
    """Per service with at least two pods in the pod view: what they answered, against their siblings."""
    view = series.pods
    if view is None or len(view) != len(series):
        return {}
    answering: dict[str, dict[tuple[str, str], list[int]]] = {}
    for i, key in enumerate(view.edges):
        if key.server in view.workloads and not key.client.startswith(NODE) and key.server_port != DNS_PORT:
            caller = canonical(key, view.workloads).client
            answering.setdefault(view.workloads[key.server], {}).setdefault((caller, key.server), []).append(i)
    calls, replies = view.dense("exchanges"), view.dense("response_payload_bytes")
    out = {}
    for service, edges in sorted(answering.items()):
        callers = list(dict.fromkeys(caller for caller, _ in edges))
        pods = tuple(sorted({pod for _, pod in edges}))
        if len(pods) >= 2:
            n, sent = np.zeros((2, len(callers), len(series), len(pods)))
            for (caller, pod), mine in edges.items():
                n[callers.index(caller), :, pods.index(pod)] = calls[:, mine].sum(axis=1)
                sent[callers.index(caller), :, pods.index(pod)] = replies[:, mine].sum(axis=1)
            out[service] = _symmetry(pods, n, sent)
    return out


def _symmetry(pods: tuple[str, ...], n: Array, sent: Array) -> Symmetry:
    """From (callers, T, pods) requests and bytes."""
    judged = n >= MIN_REQUESTS
    tau = np.where(judged, np.log((sent + 1.0) / np.maximum(n, 1.0)), np.nan)
    shape = n.shape[1:]
    out, expected = np.zeros(shape), np.zeros(shape)
    difference, inverse = np.full(shape, np.nan), np.full(shape, np.nan)
    for i in range(len(pods)):
        rest = [j for j in range(len(pods)) if j != i]
        some = judged[:, :, rest].any(axis=2) & judged[:, :, i]
        usual = np.zeros(some.shape)
        usual[some] = np.exp(np.nanmedian(tau[some][:, rest], axis=1))
        known = some.any(axis=0)
        out[:, i] = np.where(some, sent[:, :, i], 0.0).sum(axis=0)
        expected[:, i] = (n[:, :, i] * usual).sum(axis=0)
        mine = np.where(some, n[:, :, i], 0.0).sum(axis=0)[known]
        theirs = np.where(some, np.where(judged, n, 0.0)[:, :, rest].sum(axis=2), 0.0).sum(axis=0)[known]
        difference[known, i] = np.log((out[known, i] + 1.0) / (expected[known, i] + 1.0))
        inverse[known, i] = 1 / mine + 1 / theirs
    return Symmetry(pods, out, expected, difference, inverse)


def spread(difference: Array, inverse: Array) -> tuple[float, float]:
    """s₀², s₁² of σ² = s₀² + s₁² · inverse, from squared differences, the largest cut."""
    robust = 1.4826 * float(np.median(np.abs(difference)))
    squared = np.minimum(difference**2, (CUT * max(robust, FLOOR)) ** 2)
    s0, s1 = nnls(np.stack([np.ones(len(inverse)), inverse], axis=1), squared)[0]
    return max(float(s0), FLOOR**2), float(s1)
