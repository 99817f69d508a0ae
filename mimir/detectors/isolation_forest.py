"""Isolation forest: windows that few random cuts set apart (Liu, Ting & Zhou, ICDM 2008)."""

from __future__ import annotations

from mimir.detectors.estimators import Estimated, Estimator, Wrapped
from mimir.errors import MimirError


class IsolationForest(Estimated):
    """Score = 2^(−E[h(x)] / c(ψ)) in (0, 1] (equation 2): h is the path length of x in a tree, ψ the `samples` of each tree.

    Points are log(1 + bytes) of every edge each way and of what every service sent; scikit-learn's implementation.

    Source: Liu, Ting & Zhou, ICDM 2008, equations 1 and 2
    Family: classical, points in a vector space
    Supervised: no
    Needs: bytes
    Complexity: O(trees ψ log ψ) to fit, O(trees log ψ) a window
    Limits: cuts lie inside the range of training, so all values beyond it score alike; one measure among many is seldom cut
    """

    name = "isolation_forest"
    parameters = ("trees", "samples", "seed")

    def __init__(self, trees: int = 100, samples: int = 256, seed: int = 0) -> None:
        super().__init__()
        self.trees, self.samples, self.seed = trees, samples, seed

    def make(self) -> Estimator:
        """scikit-learn's IsolationForest."""
        if self.trees < 1 or self.samples < 2:
            raise MimirError(
                f"detector.trees must be ≥ 1 and samples ≥ 2 (got {self.trees}, {self.samples}); "
                "see conf/detector/isolation_forest.yaml"
            )
        from sklearn.ensemble import IsolationForest as Forest

        samples = min(self.samples, max(len(self._train), 2))
        forest = Forest(n_estimators=self.trees, max_samples=samples, random_state=self.seed)
        return Wrapped(forest, "score_samples", -1.0)
