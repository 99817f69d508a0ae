"""Pairwise autoregressive models with exogenous input, all pairs at once (Jiang, Chen & Yoshihira 2006).

y(t) = Σ_{i=1…n} a_i y(t−i) + Σ_{j=0…n} b_j x(t−j) + c. Least squares needs only the products of measures at each pair of lags, which
are one matrix product each; every pair is then a system of 2n + 2 equations.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Index = NDArray[np.int64]

RIDGE = 1e-9  #: of the number of windows: a measure that copies another would make the system singular
CHUNK = 512  #: pairs whose residuals are computed at once


@dataclass(frozen=True)
class Pairs:
    """Models of P pairs: measure `target` from measure `source`, coefficients (P, 2n + 2) in the order a, b, c."""

    target: Index
    source: Index
    coefficients: Array

    @property
    def order(self) -> int:
        """n, the number of lags."""
        return int(self.coefficients.shape[1]) // 2 - 1

    def __len__(self) -> int:
        return len(self.target)

    def take(self, chosen: Index) -> Pairs:
        """Some of the pairs."""
        return Pairs(self.target[chosen], self.source[chosen], self.coefficients[chosen])

    def predictions(self, z: Array) -> Array:
        """(T, P) ŷ(t) of (T, M) measures; the first n windows, which have no past, are predicted as they are."""
        n, out = self.order, np.empty((len(z), len(self)))
        if len(z) <= n:
            return np.asarray(z[:, self.target])
        for start in range(0, len(self), CHUNK):
            part = slice(start, start + CHUNK)
            a, b, c = np.split(self.coefficients[part], [n, 2 * n + 1], axis=1)
            y, x = z[:, self.target[part]], z[:, self.source[part]]
            hat = np.repeat(c.T, max(len(z) - n, 0), axis=0)
            for lag in range(n + 1):
                past = slice(n - lag, len(z) - lag)
                hat += x[past] * b[:, lag]
                if lag:
                    hat += y[past] * a[:, lag - 1]
            out[:n, part] = y[:n]
            out[n:, part] = hat
        return out


def fit_pairs(z: Array, order: int, most: int) -> Pairs:
    """For every measure of (T, M) its `most` fittest models from other measures; measures should be standardised.

    Measures that never move have no model and explain nothing.
    """
    moving = np.flatnonzero(np.ptp(z, axis=0) > 0) if len(z) else np.zeros(0, np.int64)
    z = z[:, moving]
    count, rows = len(moving), len(z) - order
    lagged = [z[order - lag : len(z) - lag] for lag in range(order + 1)]
    products = [[one.T @ two for two in lagged] for one in lagged]
    sums = [part.sum(axis=0) for part in lagged]
    targets, sources, found = [], [], []
    for y in range(count):
        system, right = _normal_equations(y, products, sums, rows, order)
        theta = np.linalg.solve(system + RIDGE * rows * np.eye(2 * order + 2), right[:, :, None])[:, :, 0]
        error = products[0][0][y, y] - (theta * right).sum(axis=1)
        error[y] = np.inf
        best = np.argsort(error, kind="stable")[: min(most, count - 1)]
        targets += [moving[y]] * len(best)
        sources += moving[best].tolist()
        found.append(theta[best])
    coefficients = np.concatenate(found) if found else np.zeros((0, 2 * order + 2))
    return Pairs(np.array(targets, dtype=np.int64), np.array(sources, dtype=np.int64), coefficients)


def _normal_equations(
    y: int, products: list[list[Array]], sums: list[Array], rows: int, order: int
) -> tuple[Array, Array]:
    """(M, p, p) system and (M, p) right side of target y with every source, p = 2n + 2."""
    count, size = len(sums[0]), 2 * order + 2
    system, right = np.empty((count, size, size)), np.empty((count, size))
    for i in range(1, order + 1):
        for j in range(1, order + 1):
            system[:, i - 1, j - 1] = products[i][j][y, y]
        for j in range(order + 1):
            system[:, i - 1, order + j] = system[:, order + j, i - 1] = products[i][j][y]
        system[:, i - 1, -1] = system[:, -1, i - 1] = sums[i][y]
        right[:, i - 1] = products[0][i][y, y]
    for i in range(order + 1):
        for j in range(order + 1):
            system[:, order + i, order + j] = np.diagonal(products[i][j])
        system[:, order + i, -1] = system[:, -1, order + i] = sums[i]
        right[:, order + i] = products[0][i][y]
    system[:, -1, -1] = rows
    right[:, -1] = sums[0][y]
    return system, right


def fitness(actual: Array, predicted: Array) -> Array:
    """(P,) F = 1 − √(Σ (y − ŷ)² / Σ (y − ȳ)²) of (T, P) windows; 1 is perfect, 0 as good as the mean.

    >>> fitness(np.array([[1.0], [2.0], [3.0]]), np.array([[1.0], [2.0], [2.0]])).round(4).tolist()
    [0.2929]
    """
    error = ((actual - predicted) ** 2).sum(axis=0)
    total = ((actual - actual.mean(axis=0)) ** 2).sum(axis=0)
    return np.asarray(1 - np.sqrt(error / np.maximum(total, 1e-300)))
