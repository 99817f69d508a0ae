"""Numbers about a communication graph, on scipy.sparse: linear in arrows where the definition allows it."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import networkx as nx
import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse.csgraph import connected_components


@dataclass(frozen=True)
class GraphMetrics:
    """Metrics of a directed graph; loops are left out, a metric that is not defined is None."""

    nodes: int
    arrows: int
    density: float | None  #: arrows / (nodes · (nodes − 1))
    reciprocity: float | None  #: share of arrows whose opposite exists (Wasserman & Faust 1994)
    weighted_reciprocity: (
        float | None
    )  #: share of weight that is answered, Σ min(w_ij, w_ji) / Σ w_ij (Squartini et al. 2013)
    clustering: float | None  #: mean directed clustering coefficient (Fagiolo 2007, eq. 8)
    components: int  #: weakly connected
    outside_share: float | None  #: share of the weight on arrows to or from outside

    def to_json(self) -> dict[str, float | int | None]:
        """JSON values."""
        return asdict(self)


def adjacency(graph: nx.DiGraph, weight: str | None = None) -> tuple[list[str], sparse.csr_array]:
    """Names in graph order and the matrix of arrows (row → column), without loops and without zero weights."""
    names = list(graph)
    number = {name: i for i, name in enumerate(names)}
    arrows = [(number[a], number[b], 1.0 if weight is None else float(w)) for a, b, w in graph.edges(data=weight, default=0)
              if a != b]  # fmt: skip
    rows, columns, values = np.array(arrows, dtype=float).reshape(-1, 3).T
    shape = (len(names), len(names))
    matrix = sparse.csr_array((values, (rows.astype(np.int64), columns.astype(np.int64))), shape=shape)
    matrix.eliminate_zeros()
    return names, matrix


def graph_metrics(graph: nx.DiGraph, weight: str = "bytes") -> GraphMetrics:
    """All metrics of one graph; `weight` names the arrow attribute for the weighted ones."""
    _, links = adjacency(graph)
    _, weights = adjacency(graph, weight)
    n, arrows, total = links.shape[0], int(links.nnz), float(weights.sum())
    outside = np.array([kind == "outside" for _, kind in graph.nodes(data="kind")], dtype=bool)
    crossing = (
        float(weights[outside].sum() + weights[:, outside].sum() - weights[outside][:, outside].sum()) if n else 0.0
    )
    return GraphMetrics(
        nodes=n,
        arrows=arrows,
        density=arrows / (n * (n - 1)) if n > 1 else None,
        reciprocity=float(links.multiply(links.T).sum()) / arrows if arrows else None,
        weighted_reciprocity=float(weights.minimum(weights.T).sum()) / total if total else None,
        clustering=float(clustering(links).mean()) if n else None,
        components=int(connected_components(links, directed=True, connection="weak")[0]) if n else 0,
        outside_share=crossing / total if total else None,
    )


def clustering(links: sparse.csr_array) -> NDArray[np.float64]:
    """Directed clustering coefficient of each node of a 0/1 matrix without loops (Fagiolo 2007, eq. 8); 0 if undefined.

    C_i = [(A + Aᵀ)³]_ii / 2 [d_i (d_i − 1) − 2 d↔_i], where d counts both directions and d↔ the mutual neighbours.
    """
    both = sparse.csr_array(links + links.T)
    triangles = np.asarray((both @ both).multiply(both).sum(axis=1), dtype=float).ravel()
    degree = np.asarray(both.sum(axis=1), dtype=float).ravel()
    mutual = np.asarray(links.multiply(links.T).sum(axis=1), dtype=float).ravel()
    possible = 2 * (degree * (degree - 1) - 2 * mutual)
    out: NDArray[np.float64] = np.zeros_like(triangles)
    np.divide(triangles, possible, out=out, where=possible > 0)
    return out
