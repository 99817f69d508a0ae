"""From standardised residuals to normal equivalents: how surprising a residual is, judged by the edge's own benign tail."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtr

Array = NDArray[np.float64]

KNEE = 1.5  #: the body below is taken as it is; the tail above is stretched
NORMAL_EXCESS = 0.439  #: mean excess of a standard normal over KNEE
PRIOR_PEAKS = 5.0  #: peaks' worth of belief in a normal tail
LOWEST = -4.0  #: what a window with too little traffic may count for
SMALLEST_P = 1e-250
BEND = 8.0  #: surprise (−log₁₀ p) above which it is compressed
BYTES_BASE, BYTES_SLOPE, BYTES_UNIT = 3.0, 4.0, 50.0  #: surprise of any, more per decade, first decade in bytes


def stretch(benign: Array, unit: Array) -> Array:
    """(T, M) benign standardised residuals → (M,) factors ≥ 1 by which the upper tail exceeds a normal one.

    The larger of two estimates: mean excess over KNEE (few peaks are drawn towards normal), and the largest value
    against the largest to be expected among T normal ones. A legitimate burst seen in training is no alarm later.
    """
    if not benign.size:
        return np.ones(benign.shape[1])
    over = np.maximum(benign - KNEE, 0.0)
    peaks = (benign > KNEE).sum(axis=0)
    mean_excess = (over.sum(axis=0) + PRIOR_PEAKS * NORMAL_EXCESS) / (peaks + PRIOR_PEAKS)
    expected = max(float(np.sqrt(2 * np.log(max(len(benign), 3)))) - 0.3, KNEE + 0.5)
    largest = over.max(axis=0) / (unit * np.expm1((expected - KNEE) / unit))
    return np.asarray(np.maximum(1.0, np.maximum(mean_excess / NORMAL_EXCESS, largest)))


def normal_equivalent(residual: Array, factor: Array, unit: Array) -> Array:
    """Standardised residuals; above KNEE they count logarithmically (a burst is weak evidence), below at least LOWEST.

    `unit` (M,) is how far above KNEE the logarithm takes hold.
    """
    tail = KNEE + unit * np.log1p(np.maximum(residual - KNEE, 0.0) / (unit * factor))
    return np.asarray(np.maximum(np.minimum(residual, tail), LOWEST))


def surprise(statistic: Array, freedom: Array | float) -> Array:
    """−log₁₀ of the p-value of a standardised statistic whose scale was estimated with `freedom` degrees of freedom.

    Student's t, because a scale learned from few stretches of a recording is itself uncertain. ≥ 0 and finite.

    >>> [round(float(s), 1) for s in surprise(np.array([0.0, 3.0, 5.0]), 30.0)]
    [0.3, 2.6, 4.9]
    """
    return np.asarray(-np.log10(np.maximum(stdtr(freedom, -statistic), SMALLEST_P)))


def bend(value: Array) -> Array:
    """Monotone and smooth: unchanged up to BEND, logarithmic above, so that families stay comparable."""
    return np.where(value > BEND, BEND * (1 + np.log(np.maximum(value, BEND) / BEND)), value)


def surprise_of_bytes(excess: Array) -> Array:
    """Surprise of bytes where none are allowed, on the scale of `surprise`: 1 kB is as rare as p = 10⁻⁵, tenfold 10⁻⁹.

    There is no benign spread to take a p-value from; the scale is set so that a complete exchange of messages stands
    out and a lone probe packet does not. The logarithm keeps one benign novelty from raising the threshold out of reach.
    """
    return np.asarray(np.where(excess > 0, BYTES_BASE + BYTES_SLOPE * np.log10(1 + excess / BYTES_UNIT), 0.0))
