"""What family I3 predicts: bytes of an edge from request counts, and request counts from those of other edges."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mimir.detectors.columns import aligned
from mimir.detectors.invariants.presence import Presence
from mimir.detectors.invariants.regression import AROUND_S, Fit, fit, fit_from_state, fit_state
from mimir.detectors.invariants.regressors import Gram, clean_candidates, most_regressors, neighbours
from mimir.detectors.leakpaths import LeakPath
from mimir.flows.edges import EdgeKey, EdgeSeries

Array = NDArray[np.float64]

OWN, CLEAN, COUNT = "own", "clean", "count"
KINDS = (OWN, CLEAN, COUNT)
REPLIES, REQUESTS, NAMES = "response_payload_bytes", "request_payload_bytes", "dns_name_bytes"
BYTES = (REPLIES, REQUESTS, NAMES)
CALLS = "requests"  #: exchanges, or DNS queries on edges that carry them
#: what a request causes is not the same for ever: contents and caches drift by about these shares from day to day
BYTES_DRIFT, CALLS_DRIFT = 0.01, 0.003
MARGIN = 0.25  #: of the width of the range that a regressor's share of all requests had in training
POOLED_BLOCKS = 10.0  #: blocks' worth of belief in the dependence typical of all edges
#: standard deviation, in causes, of what the two ends of a window cut off: each may put one cause on the other side of it from
#: what it causes, and a variable of range 1 has at most the variance ¼ (Popoviciu 1935)
CUT = 0.5**0.5
FLOOR = {REPLIES: 250.0, REQUESTS: 250.0, NAMES: 25.0, CALLS: 1.0}  #: smallest σ a window, in bytes or requests


class Target(NamedTuple):
    """`counter` of edge number `edge`, predicted from its own and its neighbours' requests, or from clean counts."""

    edge: int
    counter: str
    kind: str


@dataclass(frozen=True)
class Invariant:
    """A target, its regressors as (edge, lag) pairs, and the fit."""

    target: Target
    regressors: tuple[tuple[int, int], ...]
    fit: Fit
    shares: Array  #: (P, 2) range of each regressor in training, as a share of all requests of its window
    cut: float  #: σ of what the ends of a window cut off, in units of the target

    def explains(self, edges: Collection[int]) -> float:
        """What the prediction rises by when each of `edges` carries one request more in every window."""
        betas = zip(self.regressors, self.fit.beta[1:], strict=True)
        return float(sum(beta for (edge, _), beta in betas if edge in edges))


class Counts:
    """Counters of a series on the edges of training, as the invariants read them: as if the usual pods were present."""

    def __init__(
        self, series: EdgeSeries, keys: Sequence[EdgeKey], dns: NDArray[np.bool_], presence: Presence | None = None
    ):
        self.presence = presence or Presence()
        self._values = {name: aligned(series, name, keys) for name in BYTES}
        exchanges, queries = aligned(series, "exchanges", keys), aligned(series, "dns_queries", keys)
        self._values[CALLS] = np.where(dns, queries, exchanges)
        if presence is None:
            self.presence.fit(series, self._values, CALLS, keys)
        self._surplus = self.presence.surplus(series, keys)
        for name in self._values:
            self._values[name] = np.maximum(self._values[name] - self.presence.background[name] * self._surplus, 0.0)

    def of(self, target: Target) -> Array:
        """(T,) observed values."""
        return self._values[target.counter][:, target.edge]

    def unsure(self, target: Target) -> Array:
        """(T,) standard error of what was taken off for pods beyond the usual number."""
        return np.asarray(self.presence.error[target.counter][target.edge] * self._surplus[:, target.edge])

    @property
    def total(self) -> Array:
        """(T,) requests on all edges together, at least 1."""
        return np.asarray(np.maximum(self._values[CALLS].sum(axis=1), 1.0))

    @property
    def requests(self) -> Array:
        """(T, E) request counts."""
        return self._values[CALLS]

    def matrix(self, regressors: Sequence[tuple[int, int]]) -> Array:
        """(T, P) request counts, lagged; before the first window its own count stands in."""
        calls = self._values[CALLS]
        out = np.empty((len(calls), len(regressors)))
        for i, (edge, lag) in enumerate(regressors):
            column = calls[:, edge]
            out[:, i] = column if not lag else np.concatenate([np.repeat(column[:1], lag), column])[: len(column)]
        return out


def dns_edges(series: EdgeSeries, keys: Sequence[EdgeKey]) -> NDArray[np.bool_]:
    """(E,) True for edges that carried DNS queries."""
    return np.asarray(aligned(series, "dns_queries", keys).sum(axis=0) > 0)


def targets_of(edge: int, dns: bool) -> list[Target]:
    """Everything predicted about one edge."""
    counters = (NAMES,) if dns else (REPLIES, REQUESTS)
    return [*(Target(edge, c, k) for c in counters for k in (OWN, CLEAN)), Target(edge, CALLS, COUNT)]


def fit_invariants(
    counts: Counts,
    keys: Sequence[EdgeKey],
    dns: NDArray[np.bool_],
    paths: Sequence[LeakPath],
    lags: int,
    ridge: float,
    memory: int,
    window_s: int,
) -> tuple[list[Invariant], Array]:
    """All invariants of the training counts, and their (T, M) cross-validated standardised residuals."""
    gram, most = Gram(counts.requests), most_regressors(len(counts.requests))
    activity = counts.requests.sum(axis=0)
    invariants, residuals = [], []
    around = max(1, AROUND_S // window_s)
    for edge in range(len(keys)):
        near = neighbours(keys, edge)
        clean = clean_candidates(keys, edge, paths, activity)
        for target in targets_of(edge, bool(dns[edge])):
            own = target.kind == OWN
            y = counts.of(target)
            chosen = gram.choose(y, near if own else clean, [edge] if own else [], most)
            lagged = [(e, 0) for e in chosen] + [(chosen[0], lag) for lag in range(1, lags + 1) if chosen]
            free = 1 if chosen else 0
            x = counts.matrix(lagged)
            model, residual = fit(x, y, free, ridge, FLOOR[target.counter], memory, around)
            # one exchange or query holds a request and its reply; causes on other edges come earlier or later
            apart = not own and not dns[edge]
            cut = CUT * float(model.beta[1:].max(initial=0.0)) if apart else 0.0
            invariants.append(Invariant(target, tuple(lagged), model, usual_shares(x, counts.total), cut))
            residuals.append(residual / np.sqrt(1 + cut**2 / model.predict(x)[1]) if cut else residual)
    shape = (len(counts.requests), len(invariants))
    pooled = _pool_common(invariants, len(counts.requests) / memory)
    return pooled, np.stack(residuals, axis=1) if residuals else np.zeros(shape)


def _pool_common(invariants: Sequence[Invariant], blocks: float) -> list[Invariant]:
    """Draw the common share of each invariant towards the upper quartile of its kind: few blocks fit into a recording."""
    calls = np.array([i.target.counter == CALLS for i in invariants], dtype=bool)
    common = np.array([i.fit.common for i in invariants])
    for kind in (calls, ~calls):
        if kind.any():
            typical = float(np.quantile(common[kind], 0.75))
            common[kind] = (blocks * common[kind] + POOLED_BLOCKS * typical) / (blocks + POOLED_BLOCKS)
    return [replace(i, fit=replace(i.fit, common=float(c))) for i, c in zip(invariants, common, strict=True)]


@dataclass(frozen=True)
class Residuals:
    """(T, M) observed and expected values, σ of their difference, and the parts of σ that do not add up by squares.

    What neighbouring windows share errs the same way in all of them and adds up linearly. What their ends cut off is lacking in one
    and too much in the next, so that only the ends of a sum of windows count.
    """

    observed: Array
    expected: Array
    sigma: Array
    shared: Array
    cut: Array

    def at(self, span: slice) -> Residuals:
        """The same of some windows."""
        return Residuals(*(part[span] for part in (self.observed, self.expected, self.sigma, self.shared, self.cut)))

    @property
    def standard(self) -> Array:
        """(T, M) (observed − expected) / σ."""
        return (self.observed - self.expected) / self.sigma

    def uncut(self) -> Residuals:
        """The same as if windows cut nothing off."""
        return replace(self, sigma=np.sqrt(self.sigma**2 - self.cut**2), cut=np.zeros_like(self.cut))


def usual_shares(x: Array, total: Array) -> Array:
    """(P, 2) range of regressors (T, P) as shares of all requests, widened by MARGIN of its width on both sides."""
    if not x.shape[1]:
        return np.zeros((0, 2))
    share = x / total[:, None]
    low, high = share.min(axis=0), share.max(axis=0)
    return np.stack([low - MARGIN * (high - low), high + MARGIN * (high - low)], axis=1)


def beyond_training(invariant: Invariant, x: Array, total: Array) -> Array:
    """(T,) part of the prediction that comes from a mix of requests training never showed: nobody knows whether it holds."""
    usual = np.clip(x, invariant.shares[:, 0] * total[:, None], invariant.shares[:, 1] * total[:, None])
    return np.asarray(np.sqrt((((x - usual) * invariant.fit.beta[1:]) ** 2).sum(axis=1)))


def residuals_of(invariants: Sequence[Invariant], counts: Counts) -> Residuals:
    """Residuals of all invariants on these counts."""
    out, total = np.empty((5, len(counts.requests), len(invariants))), counts.total
    for m, invariant in enumerate(invariants):
        x = counts.matrix(invariant.regressors)
        expected, variance, shared = invariant.fit.predict(x)
        unsure = counts.unsure(invariant.target) ** 2 + beyond_training(invariant, x, total) ** 2
        drift = ((CALLS_DRIFT if invariant.target.counter == CALLS else BYTES_DRIFT) * expected) ** 2
        out[:, :, m] = (
            counts.of(invariant.target),
            expected,
            np.sqrt(variance + drift + unsure + invariant.cut**2),
            np.sqrt(shared + drift + unsure),
            np.full(len(expected), invariant.cut),
        )
    return Residuals(*out)


def to_state(invariants: Sequence[Invariant]) -> list[dict[str, Any]]:
    """Invariants as JSON values and arrays."""
    return [
        {
            "target": list(i.target), "regressors": [list(r) for r in i.regressors], "shares": i.shares, "cut": i.cut, **fit_state(i.fit),
        }
        for i in invariants
    ]  # fmt: skip


def from_state(rows: Sequence[Mapping[str, Any]]) -> list[Invariant]:
    """The reverse of `to_state`."""
    return [
        Invariant(
            Target(*r["target"]),
            tuple((int(e), int(lag)) for e, lag in r["regressors"]),
            fit_from_state(r),
            np.asarray(r["shares"]).reshape(-1, 2),
            float(r["cut"]),
        )
        for r in rows
    ]
