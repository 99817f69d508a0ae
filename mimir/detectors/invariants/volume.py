"""I3, request-driven volume: replies follow requests, so bytes that no request explains are leaving with someone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from mimir.detectors.base import Reason
from mimir.detectors.columns import columns_of, keys_from_json, keys_to_json, place, total_bytes
from mimir.detectors.invariants import chains, tails
from mimir.detectors.invariants import targets as tg
from mimir.detectors.invariants.presence import Presence
from mimir.detectors.invariants.sizes import Sizes
from mimir.detectors.invariants.strongest import Bench, Strongest, nothing
from mimir.detectors.invariants.words import volume_reasons
from mimir.detectors.leakpaths import Hop, LeakPath, leak_paths
from mimir.flows.edges import EdgeKey, EdgeSeries, Window

Array = NDArray[np.float64]

MOST_HOPS, MOST_CHAINS = 4, 100
MIN_STRETCHES = 12  #: stretches of K windows that training must hold for sums over K windows to be used
#: σ above the knee where residuals begin to count logarithmically: sizes and look-ups come in bursts, requests do not
BURSTY_UNIT, STEADY_UNIT = 0.5, 2.5
#: drift since the fit: followed with this memory in s, each residual cut, never by more than so many σ
DRIFT_S, DRIFT_CUT, MOST_DRIFT = 86_400.0, 2.0, 0.5
HOP_PRICE = 0.3  #: surprise a chain pays for each hop more than the shortest: every hop is one more relay to plant
CHAIN_SHARE = 0.9  #: of the error allowance given to chains from a sensitive store; the rest is for single edges


@dataclass(frozen=True)
class Evidence:
    """What I3 computed about a series: residuals and their normal equivalents, and the strongest test of each window."""

    residuals: tg.Residuals  # (T, M)
    normal: Array  # (T, M)
    surprise: Array  # (T,)
    dns: Array  # (T,) surprise of the strongest test that involves DNS
    other: Array  # (T,) that of all others
    test: NDArray[np.int64]  # (T,)
    length: NDArray[np.int64]  # (T,) windows summed up


class Volume:
    """Learns the invariants and judges residuals; `words` puts them into sentences."""

    name = "I3"
    note = ""

    def __init__(self, lags: int, ridge: float, memory: Sequence[int]):
        self.lags, self.ridge, self.memory = lags, ridge, tuple(memory)
        self.keys: tuple[EdgeKey, ...] = ()
        self.dns: NDArray[np.bool_] = np.zeros(0, dtype=bool)
        self.presence = Presence()
        self.paths: list[LeakPath] = []
        self.invariants: list[tg.Invariant] = []
        self.tests: list[chains.Test] = []
        self.lengths: tuple[int, ...] = (1,)
        self.stretch = self.price = self.unit = np.zeros(0)
        self.freedom = np.ones(1)
        self.correlation = np.zeros((0, 0))
        #: mean and standard deviation of standardised residuals: fits are robust, so rare large replies lie beyond them
        self.bias = self.spread = np.zeros(0)
        self.location = self.scale = np.zeros((0, 1))
        self.sizes = Sizes((1,))
        self.offset = np.zeros(0)  #: (M,) what predictions were off by since the fit, in σ (`partial_fit`)
        self._last: dict[bool, tuple[EdgeSeries, Evidence]] = {}

    def fit(self, benign: EdgeSeries) -> Self:
        """Learn invariants, tails, correlations and the spread of every test, all on held-out residuals."""
        columns = columns_of(benign)
        used = columns.fold(total_bytes(benign)).sum(axis=0) > 0
        self.keys = tuple(sorted(k for k, u in zip(columns.keys, used, strict=True) if u))
        self.dns = tg.dns_edges(benign, self.keys)
        self.paths = leak_paths(self.keys, benign.sensitive, MOST_HOPS, MOST_CHAINS)
        self.lengths = tuple(sorted({1, *(k for k in self.memory if k * MIN_STRETCHES <= len(benign))}))
        counts = tg.Counts(benign, self.keys, self.dns)
        self.presence = counts.presence
        self.invariants, held_out = tg.fit_invariants(
            counts, self.keys, self.dns, self.paths, self.lags, self.ridge, max(self.lengths), benign.window_s
        )
        self._make_tests()
        self.offset = np.zeros(len(self.invariants))
        self._last.clear()
        self.stretch = tails.stretch(held_out, self.unit)
        self.bias, self.spread = held_out.mean(axis=0), np.maximum(held_out.std(axis=0), 1.0)
        normal = tails.normal_equivalent(held_out, self.stretch, self.unit)
        self.correlation = chains.correlation(normal)
        residuals = tg.residuals_of(self.invariants, counts)
        self.sizes = Sizes(self.lengths)
        self.sizes.fit(self.invariants, residuals, [p.hops for p in self.paths], self.dns.tolist(), self.correlation)
        stretches = len(benign) / np.array(self.lengths, dtype=np.float64)
        self.freedom = stretches + chains.POOLED
        scatter = [chains.scatter(v) for v in self._statistics(normal, residuals, self.lengths)]
        group = np.array([self._group(t) for t in self.tests], dtype=np.float64)
        self.location = np.array([s[0] for s in scatter]).reshape(-1, len(self.lengths))
        spread = np.array([s[1] for s in scatter]).reshape(-1, len(self.lengths))
        self.scale = chains.pooled_scale(spread, stretches, group)
        return self

    def _group(self, test: chains.Test) -> float:
        """Tests of one group scatter alike: invariants of a kind, chains by kind or message size."""
        kind = tg.KINDS.index(self.invariants[test.members[0]].target.kind)
        if test.chain < 0:
            return -1.0 - kind
        return -10.0 - kind if len(test.members) == len(self.paths[test.chain].hops) else test.message

    def _make_tests(self) -> None:
        steady = [i.target.kind == tg.COUNT and not self.dns[i.target.edge] for i in self.invariants]
        self.unit = np.where(np.array(steady, dtype=bool), STEADY_UNIT, BURSTY_UNIT)
        self.tests = chains.tests_of(self.invariants, self.dns.tolist(), self.paths)
        on_chain = np.array([test.chain >= 0 for test in self.tests], dtype=bool)
        share = CHAIN_SHARE if on_chain.any() else 0.0
        chain, edge = share / max(on_chain.sum(), 1), (1 - share) / max((~on_chain).sum(), 1)
        # weighted Bonferroni, less the constant that all tests share
        self.price = np.where(on_chain, 0.0, np.log10(chain / edge) if on_chain.any() else 0.0)
        hops = np.array([len(self.paths[test.chain].hops) if test.chain >= 0 else 1 for test in self.tests])
        self.price += HOP_PRICE * np.where(on_chain, hops - hops.min(where=on_chain, initial=MOST_HOPS), 0)

    def _statistics(self, normal: Array, residuals: tg.Residuals, lengths: Sequence[int]) -> Iterator[Array]:
        """Per test the (T, K) statistics before standardisation."""
        for test in self.tests:
            yield chains.statistics(chains.signal_of(test, normal, residuals, self.correlation), lengths)

    def partial_fit(self, windows: EdgeSeries) -> None:
        """Follow slow drift: what the predictions are off by moves towards that of these windows, within ±MOST_DRIFT σ.

        The fit itself stays as it is; `evidence(…, reference=True)` judges by it alone.
        """
        residuals = tg.residuals_of(self.invariants, tg.Counts(windows, self.keys, self.dns, self.presence))
        off = np.clip(residuals.standard, -DRIFT_CUT, DRIFT_CUT).mean(axis=0)
        step = 1 - np.exp(-len(windows) * windows.window_s / DRIFT_S)
        self.offset = np.clip(self.offset + step * (off - self.offset), -MOST_DRIFT, MOST_DRIFT)
        self._last.clear()

    def evidence(self, windows: EdgeSeries, reference: bool = False) -> Evidence:
        """Residuals and the strongest test of each window; kept for the next call with the same series."""
        kept = self._last.get(reference)
        if kept is not None and kept[0] is windows:
            return kept[1]
        residuals = tg.residuals_of(self.invariants, tg.Counts(windows, self.keys, self.dns, self.presence))
        if self.offset.any() and not reference:
            residuals = replace(residuals, expected=residuals.expected + self.offset * residuals.sigma)
        normal = tails.normal_equivalent(residuals.standard, self.stretch, self.unit)
        out = Evidence(residuals, normal, *self._strongest(normal, residuals))
        self._last[reference] = (windows, out)
        return out

    def _strongest(self, normal: Array, residuals: tg.Residuals) -> Strongest:
        """The strongest test of each window, surprises bent."""
        if not self.tests:
            return nothing(len(normal))
        dns = np.array([any(self.dns[self.invariants[m].target.edge] for m in t.members) for t in self.tests])
        bench = Bench(self.location, self.scale, self.freedom, self.price, dns)
        found = bench.strongest(lambda z, lengths: self._statistics(z, residuals, lengths), normal, self.lengths)
        return found.bent()

    def parts(self, windows: EdgeSeries, reference: bool = False) -> dict[str, Array]:
        """(T,) surprise with and without DNS apart: queries are few, and their tails another matter."""
        evidence = self.evidence(windows, reference)
        return {"I3": evidence.other, "I3 DNS": evidence.dns}

    def surprise(self, windows: EdgeSeries) -> tuple[Array, Array]:
        """(T,) corrected surprise of the strongest test; (T, E) of the strongest single-window residual of each edge."""
        evidence, columns = self.evidence(windows), columns_of(windows)
        strongest = np.full((len(windows), len(self.keys)), tails.LOWEST)
        for m, invariant in enumerate(self.invariants):
            edge = invariant.target.edge
            strongest[:, edge] = np.maximum(strongest[:, edge], evidence.normal[:, m])
        per_edge = np.zeros((len(windows), len(columns.keys)))
        where = place(columns.keys, self.keys)
        per_edge[:, where >= 0] = tails.bend(tails.surprise(strongest[:, where[where >= 0]], self.freedom[0]))
        return evidence.surprise, columns.spread(per_edge, total_bytes(windows))

    def reasons(self, window: Window) -> list[Reason]:
        """The strongest test edge by edge, then the next best chains."""
        return volume_reasons(self, window)

    def state(self) -> Mapping[str, Any]:
        """Everything learned."""
        return {
            "edges": keys_to_json(self.keys), "dns": self.dns, "pods": self.presence.state(), "lengths": list(self.lengths),
            "paths": [[list(p.nodes), [[h.edge, h.reply] for h in p.hops]] for p in self.paths],
            "invariants": tg.to_state(self.invariants), "stretch": self.stretch, "correlation": self.correlation,
            "location": self.location, "bias": self.bias, "spread": self.spread, "scale": self.scale, "freedom": self.freedom,
            "size_quantiles": self.sizes.quantiles, "size_level": self.sizes.level, "offset": self.offset,
        }  # fmt: skip

    def load_state(self, state: Mapping[str, Any]) -> Self:
        """The reverse of `state`."""
        self.keys, self.dns = keys_from_json(state["edges"]), np.asarray(state["dns"], dtype=bool)
        self.presence = Presence.from_state(state["pods"])
        self.lengths = tuple(int(k) for k in state["lengths"])
        self.paths = [
            LeakPath(tuple(nodes), tuple(Hop(int(e), bool(r)) for e, r in hops)) for nodes, hops in state["paths"]
        ]
        self.invariants = tg.from_state(state["invariants"])
        self.stretch, self.correlation = np.asarray(state["stretch"]), np.asarray(state["correlation"])
        self.location, self.scale = np.asarray(state["location"]), np.asarray(state["scale"])
        self.freedom = np.asarray(state["freedom"])
        self.bias, self.spread = np.asarray(state["bias"]), np.asarray(state["spread"])
        self.sizes = Sizes(self.lengths)
        self.sizes.quantiles, self.sizes.level = np.asarray(state["size_quantiles"]), np.asarray(state["size_level"])
        self.offset = np.asarray(state["offset"])
        self._make_tests()
        self._last.clear()
        return self
