"""One-class support vector machine: windows outside a smooth region that holds most of training (Schölkopf et al. 2001)."""

from __future__ import annotations

from mimir.detectors.estimators import Estimated, Estimator, Wrapped
from mimir.errors import MimirError


class Ocsvm(Estimated):
    """Score = ρ − Σ_i α_i k(x_i, x) with k(x, y) = exp(−γ ‖x − y‖²) (its decision function, sign turned): above 0 is outside.

    At most a share ν = `outside` of training lies outside. γ = 1 / (M var(x)) unless `gamma` is given. Points are log(1 + bytes)
    of every edge each way and of what every service sent; scikit-learn's implementation.

    Source: Schölkopf, Platt, Shawe-Taylor, Smola & Williamson, Neural Computation 2001
    Family: classical, points in a vector space
    Supervised: no
    Needs: bytes
    Complexity: O(T² M) to O(T³) to fit, O(V M) a window, V support vectors
    Limits: the kernel of far points is 0, so the score saturates at ρ; all measures count alike
    """

    name = "ocsvm"
    parameters = ("outside", "gamma")

    def __init__(self, outside: float = 0.01, gamma: float | None = None) -> None:
        super().__init__()
        self.outside, self.gamma = outside, gamma

    def make(self) -> Estimator:
        """scikit-learn's OneClassSVM."""
        if not 0 < self.outside <= 1 or (self.gamma is not None and self.gamma <= 0):
            raise MimirError(
                f"detector.outside must lie in (0, 1] and gamma be null or > 0 (got {self.outside}, {self.gamma}); "
                "see conf/detector/ocsvm.yaml"
            )
        from sklearn.svm import OneClassSVM

        model = OneClassSVM(kernel="rbf", nu=self.outside, gamma="scale" if self.gamma is None else self.gamma)
        return Wrapped(model, "decision_function", -1.0)
