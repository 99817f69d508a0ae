"""Empirical tails of every measure, frozen at training (for `ecod` and `copod`)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Self

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


class EmpiricalTails:
    """Estimator of Σ over measures of `combine(left, right, skew)`.

    left = −log F̂(x) and right = −log(1 − F̂(x⁻)) with the empirical distribution of training; a value beyond everything
    seen counts as one of n + 1. PyOD joins the scored rows to the training rows instead, so there a score depends
    on the other windows scored with it; here it does not.
    """

    def __init__(self, combine: Callable[[Array, Array, Array], Array]) -> None:
        self.combine = combine
        self.sorted = np.zeros((0, 0))
        self.skew = np.zeros(0)

    def fit(self, x: Array) -> Self:
        """Sort every measure of (T, M) points."""
        self.sorted = np.ascontiguousarray(np.sort(x, axis=0).T)  # (M, T)
        centred = x - x.mean(axis=0)
        flat = np.ptp(x, axis=0) == 0
        self.skew = np.where(flat, 0.0, np.sign((centred**3).mean(axis=0)))
        return self

    def tails(self, x: Array) -> tuple[Array, Array]:
        """(T, M) −log of the left and of the right tail."""
        n = self.sorted.shape[1]
        below, above = np.zeros_like(x), np.zeros_like(x)
        for m, values in enumerate(self.sorted):
            below[:, m] = np.searchsorted(values, x[:, m], side="right")
            above[:, m] = n - np.searchsorted(values, x[:, m], side="left")
        left, right = (np.where(c > 0, c / n, 1 / (n + 1)) for c in (below, above))
        return -np.log(left), -np.log(right)

    def parts(self, x: Array) -> Array:
        """(T, M) what each measure adds."""
        left, right = self.tails(x)
        return np.asarray(self.combine(left, right, self.skew))

    def abnormality(self, x: Array) -> Array:
        """(T,) the sum of the parts."""
        return np.asarray(self.parts(x).sum(axis=1))
