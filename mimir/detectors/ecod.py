"""ECOD: how far out in the empirical tails, summed over measures (Li et al., IEEE TKDE 2022)."""

from __future__ import annotations

import numpy as np

from mimir.detectors.ecdf_tails import Array, EmpiricalTails
from mimir.detectors.estimators import Estimated, Estimator


class Ecod(Estimated):
    """Score = max(O_left, O_right, O_auto), sums over measures of −log empirical tail probabilities (algorithm 1).

    O_auto takes the left tail of a measure skewed to the left and the right tail of one skewed to the right. Measures are
    log(1 + bytes) of every edge each way and of what every service sent. Distribution and skewness are those of training:
    unlike `detector=pyod detector.name=ECOD`, the score of a window does not depend on the windows scored with it.

    Source: Li, Zhao, Hu, Botta, Ionescu & Chen, IEEE TKDE 2022, algorithm 1
    Family: classical, points in a vector space
    Supervised: no
    Needs: bytes
    Complexity: O(M T log T) to fit, O(M log T) a window, M = 2 edges + services
    Limits: every measure alone; saturates: beyond all of training a value counts log(n + 1) however large it is
    """

    name = "ecod"
    library = ""

    def make(self) -> Estimator:
        """Our own."""
        return EmpiricalTails(_combine)


def _combine(left: Array, right: Array, skew: Array) -> Array:
    """(T, M) addends of the largest of the three sums."""
    three = np.stack([left, right, np.where(skew < 0, left, right)])
    best = three.sum(axis=2).argmax(axis=0)
    return np.asarray(three[best, np.arange(len(left))])
