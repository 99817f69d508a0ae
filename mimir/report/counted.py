"""Intervals of counts, for generated pages."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from numpy.typing import NDArray

CONFIDENCE = 0.95
Floats = NDArray[np.float64]


def poisson_rate(
    count: npt.ArrayLike, exposure: npt.ArrayLike, confidence: float = CONFIDENCE
) -> tuple[Floats, Floats]:
    """Exact interval (low, high) of a Poisson rate: events per unit of `exposure` (Garwood 1936), element by element.

    >>> [round(float(end), 3) for end in poisson_rate(0, 2.0)]
    [0.0, 1.844]
    """
    from scipy.stats import chi2

    events, tail = np.asarray(count, dtype=np.float64), (1 - confidence) / 2
    low = np.where(events > 0, chi2.ppf(tail, 2 * np.maximum(events, 1)) / 2, 0.0)
    return low / np.asarray(exposure), chi2.ppf(1 - tail, 2 * (events + 1)) / 2 / np.asarray(exposure)
