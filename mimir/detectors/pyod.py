"""Any of these PyOD estimators on the same points: `detector=pyod detector.name=HBOS detector.params={n_bins: 20}`."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from importlib.util import find_spec
from inspect import signature
from typing import Any

from mimir.detectors.estimators import Estimated, Estimator, Wrapped
from mimir.errors import MimirError

#: class → module of pyod.models; only these are ever imported
MODELS: dict[str, str] = {
    name: name.lower()
    for name in (
        "ABOD", "CBLOF", "COPOD", "ECOD", "GMM", "HBOS", "IForest", "INNE", "KDE", "KNN", "KPCA", "LOF", "OCSVM", "Sampling",
    )
}  # fmt: skip


class Pyod(Estimated):
    """Score = PyOD's `decision_function` of log(1 + bytes) of every edge each way and of what every service sent.

    `detector.name` chooses the estimator, `detector.params` are arguments of its constructor. `random_state` is 0 unless given.
    Needs the package: `pip install mimir[pyod]`.

    Source: Zhao, Nasrullah & Li, JMLR 2019 (PyOD 3.6); the paper of each estimator stands in PyOD's documentation
    Family: classical, points in a vector space
    Supervised: no
    Needs: bytes
    Complexity: as the estimator
    Limits: as the estimator; ECOD and COPOD join the scored windows to training, so scores depend on what is scored together
    """

    name = "pyod"
    library = "pyod"
    parameters = ("estimator", "params")

    def __init__(self, estimator: str = "KNN", params: Mapping[str, Any] | None = None) -> None:
        super().__init__()
        self.estimator, self.params = estimator, dict(params) if params else None

    def make(self) -> Estimator:
        """The estimator, unfitted; MimirError for an unknown one, unknown arguments, or without PyOD."""
        if self.estimator not in MODELS:
            raise MimirError(
                f"detector.name is none of PyOD's estimators (got {self.estimator!r}; allowed: {', '.join(MODELS)})"
            )
        if find_spec("pyod") is None:
            raise MimirError(
                "the package pyod is not installed; pip install 'mimir[pyod]', or use detector=ecod, copod, isolation_forest, "
                "lof or ocsvm, which do without"
            )
        kind = getattr(import_module(f"pyod.models.{MODELS[self.estimator]}"), self.estimator)
        allowed = [name for name in signature(kind.__init__).parameters if name not in ("self", "kwargs")]
        given = dict(self.params or {})
        unknown = sorted(set(given) - set(allowed))
        if unknown:
            raise MimirError(
                f"PyOD's {self.estimator} has no parameter {unknown[0]!r} (allowed: {', '.join(allowed)}); "
                "set detector.params on the command line or in conf/detector/pyod.yaml"
            )
        seeded = {"random_state": 0} if "random_state" in allowed else {}
        try:
            model = kind(**(seeded | given))
        except (ValueError, TypeError) as error:
            raise MimirError(f"PyOD's {self.estimator} refuses detector.params={given}: {error}") from error
        return Wrapped(model, "decision_function", 1.0)
