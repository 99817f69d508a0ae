"""COPOD: tail probabilities of the empirical copula, summed over measures (Li et al., ICDM 2020)."""

from __future__ import annotations

import numpy as np

from mimir.detectors.ecdf_tails import Array, EmpiricalTails
from mimir.detectors.estimators import Estimated, Estimator


class Copod(Estimated):
    """Score = Σ over measures of max(skew-corrected tail, mean of both tails), tails as −log empirical probabilities.

    The formula of the paper (algorithm 2: the largest of three sums) is that of `ecod`; this is what its authors' library
    computes and everybody runs: there the maximum is taken measure by measure, and against the mean of both tails. The empirical
    distribution is that of training (in PyOD the scored rows join it).

    Source: Li, Zhao, Botta, Ionescu & Hu, ICDM 2020, algorithm 2, in the form of PyOD 3.6 (copod.py)
    Family: classical, points in a vector space
    Supervised: no
    Needs: bytes
    Complexity: O(M T log T) to fit, O(M log T) a window, M = 2 edges + services
    Limits: as `ecod`: every measure alone, and a value beyond all of training counts the same however large it is
    """

    name = "copod"
    library = ""

    def make(self) -> Estimator:
        """Our own."""
        return EmpiricalTails(_combine)


def _combine(left: Array, right: Array, skew: Array) -> Array:
    corrected = left * (skew <= 0) + right * (skew >= 0)  # no skew: both
    return np.asarray(np.maximum(corrected, (left + right) / 2))
