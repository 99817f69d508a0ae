"""Who sent how much to whom, pod by pod: an EdgeSeries as weighted graphs, all windows at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from mimir.detectors.columns import NODE
from mimir.flows.edges import EdgeSeries, is_outside

Array = NDArray[np.float64]
OUTSIDE_CLASS = "outside"  #: everybody beyond the cluster, as one node and as one class


@dataclass(frozen=True)
class PodGraph:
    """N nodes (pods, and the outside as one), P pairs of them that ever spoke, T windows. Nodes of the cluster are left out.

    `forward[t, p]` are bytes that `ends[p, 0]` sent to `ends[p, 1]`, `back[t, p]` the other way; `bypassing` those of both
    that did not use a service address (0 on pairs with the outside).
    """

    nodes: tuple[str, ...]
    classes: tuple[str, ...]  #: of each node: its service, or `outside`
    ends: NDArray[np.int64]  # (P, 2), the smaller number first
    forward: Array  # (T, P)
    back: Array
    bypassing: Array

    @classmethod
    def of(cls, series: EdgeSeries) -> PodGraph:
        """From the pod view where there is one, else from the view given."""
        view = series.pods if series.pods is not None and len(series.pods) == len(series) else series
        named = [(_node(key.client), _node(key.server)) for key in view.edges]
        mine = [i for i, (a, b) in enumerate(named) if a != b and not (a + b).count(NODE)]
        nodes = tuple(sorted({name for i in mine for name in named[i]}))
        number = {name: n for n, name in enumerate(nodes)}
        pairs: dict[tuple[int, int], int] = {}
        place, turned = np.zeros(len(mine), np.int64), np.zeros(len(mine), np.bool_)
        for row, i in enumerate(mine):
            a, b = (number[name] for name in named[i])
            place[row], turned[row] = pairs.setdefault((min(a, b), max(a, b)), len(pairs)), a > b
        up, down, mediated = (
            view.dense(name)[:, mine] for name in ("request_bytes", "response_bytes", "mediated_bytes")
        )
        inner = np.array([OUTSIDE_CLASS not in named[i] for i in mine], dtype=np.float64)
        gather = _gather(place, len(pairs))
        return cls(
            nodes,
            tuple(class_of(name, series) for name in nodes),
            np.array(list(pairs), dtype=np.int64).reshape(-1, 2),
            gather(np.where(turned, down, up)),
            gather(np.where(turned, up, down)),
            gather(np.maximum(up + down - mediated, 0.0) * inner),
        )


def _gather(place: NDArray[np.int64], count: int):  # type: ignore[no-untyped-def]
    """Adds up columns that have one place: (T, len(place)) → (T, count)."""
    matrix = sparse.csr_array((np.ones(len(place)), (place, np.arange(len(place)))), shape=(count, len(place)))
    return lambda values: np.ascontiguousarray((matrix @ values.T).T)


def _node(name: str) -> str:
    return OUTSIDE_CLASS if is_outside(name) else name


def class_of(name: str, series: EdgeSeries) -> str:
    """Class of a node of an edge: its service, `outside`, or the name itself."""
    return OUTSIDE_CLASS if name == OUTSIDE_CLASS or is_outside(name) else series.workloads.get(name, name)


def class_pairs(graph: PodGraph) -> list[tuple[str, str]]:
    """The two classes of each pair, in alphabetic order."""
    kinds = graph.classes
    return [(min(kinds[a], kinds[b]), max(kinds[a], kinds[b])) for a, b in graph.ends.tolist()]


def groups(labels: Sequence[object], known: Sequence[object]) -> sparse.csr_array:
    """(len(known), len(labels)) 1.0 where a label is a known one: a matrix that adds up columns by label."""
    place = {label: n for n, label in enumerate(known)}
    hits = [(place[label], i) for i, label in enumerate(labels) if label in place]
    rows, columns = np.array(hits, dtype=np.int64).reshape(-1, 2).T
    return sparse.csr_array((np.ones(len(hits)), (rows, columns)), shape=(len(known), len(labels)))


def added(values: Array, matrix: sparse.csr_array) -> Array:
    """(T, len(labels)) → (T, len(known))."""
    return np.ascontiguousarray((matrix @ values.T).T)


def spread_of(values: Array, matrix: sparse.csr_array) -> Array:
    """(T, len(known)) coefficient of variation over the labels of each group with a value > 0; NaN for fewer than two."""
    count = added((values > 0).astype(np.float64), matrix)
    mean = added(values, matrix) / np.maximum(count, 1.0)
    variance = np.maximum(added(values**2, matrix) / np.maximum(count, 1.0) - mean**2, 0.0)
    out = np.full(mean.shape, np.nan)
    np.divide(np.sqrt(variance), mean, out=out, where=(count > 1) & (mean > 0))
    return out
