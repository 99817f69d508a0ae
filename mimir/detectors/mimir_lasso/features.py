"""The five families of structural features, window by window; NaN where one is not defined.

reciprocity   per pair of services: Σ min(w_ij, w_ji) / Σ w_ij over their pods (Squartini et al. 2013, equation 8)
evenness      per pair of services: coefficient of variation of the bytes on the pod-to-pod pairs in use
centrality    per service: harmonic centrality Σ_u 1 / d(u, v), an arrow being as long as 1 / its share of all bytes
              (Marchiori & Latora 2000; Rochat 2009)
current       per service: coefficient of variation, over its pods, of the current that flows through them when the sensitive
              pods are fed one unit and the outside is earthed; conductances are bytes (Brandes & Fleischer 2005, equation 3)
bypass        one number: share of pod-to-pod bytes that did not use a service address
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mimir.detectors.mimir_lasso.podgraph import (
    OUTSIDE_CLASS,
    PodGraph,
    added,
    class_pairs,
    groups,
    spread_of,
)
from mimir.flows.edges import EdgeSeries

Array = NDArray[np.float64]
FAMILIES = ("reciprocity", "evenness", "centrality", "current", "bypass")
CHUNK = 256  #: windows solved at once: (windows, nodes, nodes) arrays stay small
LEAST = (
    1e-9  #: conductance to earth of every pod, as a share of all bytes: pods that nobody reaches have a potential too
)


@dataclass(frozen=True)
class Item:
    """One feature: its family and the services it is about (two, one, or none)."""

    family: str
    services: tuple[str, ...]


@dataclass(frozen=True)
class Features:
    """The features that training knows. Services and pairs that are new later have none of their own."""

    pairs: tuple[tuple[str, str], ...]
    services: tuple[str, ...]

    @classmethod
    def of(cls, benign: EdgeSeries) -> Features:
        """Pairs of services (the outside counts as one) and services seen in a series, sorted."""
        graph = PodGraph.of(benign)
        return cls(tuple(sorted(set(class_pairs(graph)))), tuple(sorted({*graph.classes} - {OUTSIDE_CLASS})))

    @property
    def items(self) -> tuple[Item, ...]:
        """What each column of `table` is."""
        inner = [p for p in self.pairs if OUTSIDE_CLASS not in p]
        ends = (*self.services, OUTSIDE_CLASS)
        return (
            *(Item("reciprocity", pair) for pair in self.pairs),
            *(Item("evenness", pair) for pair in inner),
            *(Item("centrality", (name,)) for name in ends),
            *(Item("current", (name,)) for name in self.services),
            Item("bypass", ()),
        )

    def table(self, series: EdgeSeries) -> Array:
        """(T, K) features; NaN where not defined."""
        graph = PodGraph.of(series)
        inner = [p for p in self.pairs if OUTSIDE_CLASS not in p]
        labels = class_pairs(graph)
        both = graph.forward + graph.back
        parts = [
            reciprocity(graph, labels, self.pairs),
            spread_of(both, groups(labels, inner)),
            centrality(graph, (*self.services, OUTSIDE_CLASS)),
            spread_of(currents(graph, series.sensitive), groups(graph.classes, self.services)),
            bypass(graph, labels)[:, None],
        ]
        return np.hstack(parts)

    def state(self) -> dict[str, Any]:
        """As JSON values."""
        return {"pairs": [list(p) for p in self.pairs], "services": list(self.services)}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Features:
        """The reverse of `state`."""
        return cls(tuple((str(a), str(b)) for a, b in state["pairs"]), tuple(map(str, state["services"])))


def _ratio(top: Array, bottom: Array) -> Array:
    out = np.full(bottom.shape, np.nan)
    np.divide(top, bottom, out=out, where=bottom > 0)
    return out


def reciprocity(graph: PodGraph, labels: Sequence[tuple[str, str]], known: Sequence[tuple[str, str]]) -> Array:
    """(T, len(known)) weighted reciprocity of pairs of services: 0 where all bytes go one way, 1 where both ways alike."""
    matrix = groups(labels, known)
    return _ratio(added(2 * np.minimum(graph.forward, graph.back), matrix), added(graph.forward + graph.back, matrix))


def bypass(graph: PodGraph, labels: Sequence[tuple[str, str]]) -> Array:
    """(T,) share of the bytes between pods that went around the service address."""
    inner = np.array([OUTSIDE_CLASS not in pair for pair in labels], dtype=np.bool_)
    both = (graph.forward + graph.back)[:, inner]
    return _ratio(graph.bypassing.sum(axis=1), both.sum(axis=1))


def centrality(graph: PodGraph, services: Sequence[str]) -> Array:
    """(T, S) harmonic centrality of services in the graph of services; shortest ways by Floyd and Warshall, all windows at once."""
    place = {name: n for n, name in enumerate(services)}
    windows, count = len(graph.forward), len(services)
    kinds = [place.get(name, -1) for name in graph.classes]
    sent = np.zeros((count, count, windows))
    for p, (a, b) in enumerate(graph.ends.tolist()):
        i, j = kinds[a], kinds[b]
        if i >= 0 and j >= 0 and i != j:
            sent[i, j] += graph.forward[:, p]
            sent[j, i] += graph.back[:, p]
    far = np.full(sent.shape, np.inf)
    np.divide(sent.sum(axis=(0, 1)), sent, out=far, where=sent > 0)
    for k in range(count):
        np.minimum(far, far[:, k, None] + far[None, k], out=far)
    near = np.where(np.isfinite(far), 1 / far, 0.0)
    near[np.arange(count), np.arange(count)] = 0.0
    return np.ascontiguousarray(near.sum(axis=0).T)


def currents(graph: PodGraph, sensitive: frozenset[str]) -> Array:
    """(T, N) current through each node, 0 for silent ones, when sensitive pods share one unit and the outside is earthed."""
    windows, count = len(graph.forward), len(graph.nodes)
    out = np.zeros((windows, count))
    stores = [n for n, kind in enumerate(graph.classes) if kind in sensitive]
    if OUTSIDE_CLASS not in graph.nodes or not stores:
        return out
    earth = graph.nodes.index(OUTSIDE_CLASS)
    kept = np.array([n for n in range(count) if n != earth])
    weights = graph.forward + graph.back
    weights = weights / np.maximum(weights.sum(axis=1, keepdims=True), 1e-300)
    a, b = graph.ends.T
    for first in range(0, windows, CHUNK):
        share = weights[first : first + CHUNK]
        conductance = np.zeros((len(share), count, count))
        conductance[:, a, b] = conductance[:, b, a] = share
        degree = conductance.sum(axis=2)
        feed = np.zeros((len(share), count))
        feed[:, stores] = degree[:, stores] > 0
        feed /= np.maximum(feed.sum(axis=1, keepdims=True), 1.0)
        laplacian = -conductance[:, kept][:, :, kept]
        laplacian[:, np.arange(len(kept)), np.arange(len(kept))] += degree[:, kept] + LEAST
        potential = np.zeros((len(share), count))
        potential[:, kept] = np.linalg.solve(laplacian, feed[:, kept, None])[:, :, 0]
        flow = conductance * np.abs(potential[:, :, None] - potential[:, None, :])
        out[first : first + CHUNK] = (flow.sum(axis=2) + feed) / 2
    return out
