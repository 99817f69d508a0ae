"""The adaptive threshold of Idé & Kashima (KDD 2004): cosine distances under a von Mises–Fisher law."""

from __future__ import annotations

from math import sqrt
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import chdtri

Array = NDArray[np.float64]

LEAST_MOMENT = 1e-18  #: a series that never moves would make the threshold 0


class Moments(NamedTuple):
    """First and second moment of z. For unit vectors scattered around a mean direction with angular variance Σ,

    q(z) ∝ e^{−z / 2Σ} z^{(n−1)/2 − 1}, so ⟨z⟩ = (n − 1) Σ and ⟨z²⟩ = (n² − 1) Σ²: the moments give Σ and the effective
    dimension n, and z / Σ follows χ² with n − 1 degrees of freedom.
    """

    first: float
    second: float

    @classmethod
    def of(cls, z: Array) -> Moments:
        """Moments of a sample; of nothing, zeros."""
        return cls(float(z.mean()), float((z**2).mean())) if len(z) else cls(0.0, 0.0)

    @property
    def variance(self) -> float:
        """⟨z²⟩ − ⟨z⟩²."""
        return max(self.second - self.first**2, LEAST_MOMENT)

    @property
    def freedom(self) -> float:
        """n − 1 = 2 ⟨z⟩² / (⟨z²⟩ − ⟨z⟩²)."""
        return max(2 * self.first**2 / self.variance, 1e-3)

    @property
    def spread(self) -> float:
        """Σ = (⟨z²⟩ − ⟨z⟩²) / (2 ⟨z⟩)."""
        return self.variance / (2 * max(self.first, sqrt(LEAST_MOMENT)))

    def threshold(self, critical: float) -> float:
        """The z exceeded with probability `critical`."""
        return max(float(self.spread * chdtri(self.freedom, critical)), sqrt(LEAST_MOMENT))

    def updated(self, z: float, discount: float) -> Moments:
        """⟨z⟩ ← (1 − β) ⟨z⟩ + β z, and the same for z²."""
        return Moments((1 - discount) * self.first + discount * z, (1 - discount) * self.second + discount * z**2)

    def thresholds(self, z: Array, discount: float, critical: float) -> Array:
        """(T,) threshold in force at each window, before that window teaches the moments."""
        out, now = np.zeros(len(z)), self
        for t, value in enumerate(z.tolist()):
            out[t] = now.threshold(critical)
            now = now.updated(value, discount)
        return out
