"""Local outlier factor: windows in thinner surroundings than their neighbours (Breunig et al., SIGMOD 2000)."""

from __future__ import annotations

from mimir.detectors.estimators import Estimated, Estimator, Wrapped
from mimir.errors import MimirError


class Lof(Estimated):
    """Score = LOF_k(x), the mean of lrd(o) / lrd(x) over the k nearest windows o of training (definition 7); 1 is usual.

    Points are log(1 + bytes) of every edge each way and of what every service sent; scikit-learn's implementation, in its
    novelty mode: only windows of training are neighbours.

    Source: Breunig, Kriegel, Ng & Sander, SIGMOD 2000, definitions 5 (reachability), 6 (density) and 7 (factor)
    Family: classical, points in a vector space
    Supervised: no
    Needs: bytes
    Complexity: O(T² M) to fit, O(T M) a window, M = 2 edges + services
    Limits: distances grow alike in many dimensions, so one edge of many hardly moves the factor
    """

    name = "lof"
    parameters = ("neighbours",)

    def __init__(self, neighbours: int = 20) -> None:
        super().__init__()
        self.neighbours = neighbours

    def make(self) -> Estimator:
        """scikit-learn's LocalOutlierFactor."""
        if self.neighbours < 1:
            raise MimirError(f"detector.neighbours must be ≥ 1 (got {self.neighbours}); see conf/detector/lof.yaml")
        from sklearn.neighbors import LocalOutlierFactor

        neighbours = min(self.neighbours, max(len(self._train) - 1, 1))
        model = LocalOutlierFactor(n_neighbors=neighbours, novelty=True, algorithm="brute")
        return Wrapped(model, "score_samples", -1.0)
