"""Activity vectors of a service graph: the principal eigenvector of its dependency matrix (for `eigenvector`)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import eigh
from threadpoolctl import threadpool_limits

from mimir.detectors.columns import columns_of, total_bytes
from mimir.flows.edges import EdgeSeries

Array = NDArray[np.float64]
Pair = tuple[str, str]


def weights_of(series: EdgeSeries) -> tuple[tuple[Pair, ...], Array, NDArray[np.int64]]:
    """Unordered pairs of nodes, (T, P) D_uv = log(1 + b_uv + b_vu), and the pair of each column (-1: a loop)."""
    columns = columns_of(series)
    bytes_ = columns.fold(total_bytes(series))
    place: dict[Pair, int] = {}
    index = np.full(len(columns.keys), -1)
    for i, key in enumerate(columns.keys):
        if key.client != key.server:
            a, b = sorted((key.client, key.server))
            index[i] = place.setdefault((a, b), len(place))
    total = np.zeros((len(place), len(series)))
    np.add.at(total, index[index >= 0], bytes_.T[index >= 0])
    return tuple(place), np.log1p(total.T), index


def activity_vectors(nodes: Sequence[str], pairs: Sequence[Pair], weights: Array) -> Array:
    """(T, N) principal eigenvector of D for each row of `weights` (T, P): unit length, no negative entry, 0 where D = 0.

    D is symmetric and non-negative, so the vector of its largest eigenvalue can be chosen non-negative (Perron & Frobenius).
    """
    place = {node: i for i, node in enumerate(nodes)}
    u = np.array([place[a] for a, _ in pairs], dtype=np.int64)
    v = np.array([place[b] for _, b in pairs], dtype=np.int64)
    out, last = np.zeros((len(weights), len(nodes))), len(nodes) - 1
    with threadpool_limits(1):  # matrices this small are slowed down by threads, on a busy machine thirtyfold
        for t in np.flatnonzero(weights.any(axis=1)):
            matrix = np.zeros((len(nodes), len(nodes)))
            matrix[u, v] = matrix[v, u] = weights[t]
            vector = np.abs(eigh(matrix, subset_by_index=[last, last], check_finite=False)[1][:, 0])
            out[t] = vector / np.linalg.norm(vector)
    return out


def typical_pattern(history: Array) -> Array:
    """(N,) first left singular vector of the columns u(t−1) … u(t−W), given as rows (W, N): unit length, non-negative.

    >>> typical_pattern(np.array([[1.0, 0.0], [1.0, 0.0]])).tolist()
    [1.0, 0.0]
    """
    if not history.any():
        return np.zeros(history.shape[1])
    weights = np.abs(np.linalg.eigh(history @ history.T)[1][:, -1])  # all products are ≥ 0, so is the leading vector
    pattern = weights @ history
    return np.asarray(pattern / np.linalg.norm(pattern))
