"""The models on top of the features, each as something that can be stored without pickle."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Kind = Literal["lasso", "logistic", "gradient_boosting"]


class Model(Protocol):
    """What decides: (T, K) points → (T,) higher = more like a leak."""

    def decide(self, x: Array) -> Array:
        """The decision value."""
        ...

    def state(self) -> Mapping[str, Any]:
        """Numbers to store."""
        ...


@dataclass(frozen=True)
class Linear:
    """x · weights + offset: LASSO and logistic regression, as plain numbers."""

    weights: Array
    offset: float

    def decide(self, x: Array) -> Array:
        """The linear predictor (log-odds for logistic regression)."""
        return np.asarray(x @ self.weights + self.offset)

    def state(self) -> Mapping[str, Any]:
        """Weights and offset."""
        return {"weights": self.weights, "offset": self.offset}


class Boosted:
    """Gradient boosting of trees (Friedman 2001), stored as what it learned from: loading fits again (deterministic)."""

    def __init__(self, x: Array, leaking: NDArray[np.bool_], trees: int, seed: int):
        from sklearn.ensemble import GradientBoostingClassifier

        self._x, self._leaking = x, leaking
        model = GradientBoostingClassifier(n_estimators=trees, random_state=seed)
        self._model = model.fit(x, leaking, sample_weight=balance(leaking))

    def decide(self, x: Array) -> Array:
        """Log-odds."""
        return np.asarray(self._model.decision_function(x), dtype=np.float64) if len(x) else np.zeros(0)

    def state(self) -> Mapping[str, Any]:
        """Points and labels."""
        return {"points": self._x, "leaking": self._leaking}


def balance(leaking: NDArray[np.bool_]) -> Array:
    """(T,) weights under which leaking and benign windows count the same in all, 1 on average."""
    share = leaking.mean()
    return np.asarray(np.where(leaking, 0.5 / share, 0.5 / (1 - share)))


def learned(kind: Kind, x: Array, leaking: NDArray[np.bool_], penalty: float, trees: int, seed: int) -> Model:
    """A model fitted on (T, K) points and (T,) labels of both kinds."""
    if kind == "gradient_boosting":
        return Boosted(x, leaking, trees, seed)
    from sklearn.linear_model import Lasso, LogisticRegression

    if kind == "lasso":
        fitted = Lasso(alpha=penalty, max_iter=100_000).fit(x, leaking.astype(float), sample_weight=balance(leaking))
        return Linear(np.asarray(fitted.coef_, dtype=np.float64), float(fitted.intercept_))
    fitted = LogisticRegression(C=1 / (penalty * len(x)), max_iter=10_000)
    fitted.fit(x, leaking, sample_weight=balance(leaking))
    return Linear(np.asarray(fitted.coef_[0], dtype=np.float64), float(fitted.intercept_[0]))


def restored(kind: Kind, state: Mapping[str, Any], trees: int, seed: int) -> Model:
    """The reverse of `Model.state`."""
    if kind == "gradient_boosting":
        return Boosted(np.asarray(state["points"]), np.asarray(state["leaking"], dtype=np.bool_), trees, seed)
    return Linear(np.asarray(state["weights"]), float(state["offset"]))
