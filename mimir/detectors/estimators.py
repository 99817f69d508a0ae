"""One adapter for estimators of points in a vector space: scikit-learn's, PyOD's, and our own.

Stored is the matrix the estimator was fitted on; loading fits again (docs/adr: no pickle). All estimators are deterministic
under their seed, so the scores are identical as long as the library is.
"""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any, ClassVar, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from mimir.detectors.base import Reason, Scores
from mimir.detectors.measures import Measures
from mimir.detectors.parameters import Parametrised, once_a_series
from mimir.errors import MimirError
from mimir.flows.edges import EdgeSeries, Window
from mimir.units import format_bytes

Array = NDArray[np.float64]
LOG = logging.getLogger(__name__)

SHOWN = 3  #: edges named by `explain`
ASKED = 12  #: measures, the furthest from usual, that `explain` puts back to usual to see what the score owes them
SCALE_FLOOR = 0.01  #: log units (1 %): a measure that never changed would make any change infinite
LEAST_WINDOWS = 10  #: benign windows below which there is no shape to learn


class Estimator(Protocol):
    """What the adapter drives; an estimator that knows what each measure adds also has `parts(x) -> (T, M)`."""

    def fit(self, x: Array) -> Any:
        """Learn from (T, M) benign points."""
        ...

    def abnormality(self, x: Array) -> Array:
        """(T,) higher = more abnormal."""
        ...


class Wrapped:
    """A library's estimator as an `Estimator`; `decide` names its method, `sign` turns it so that higher is more abnormal."""

    def __init__(self, model: Any, decide: str, sign: float) -> None:
        self.model, self.decide, self.sign = model, decide, sign

    def fit(self, x: Array) -> Any:
        """Fit the library's estimator."""
        return self.model.fit(x)

    def abnormality(self, x: Array) -> Array:
        """Its decision, turned."""
        return np.asarray(self.sign * getattr(self.model, self.decide)(x), dtype=np.float64)


class Estimated(Parametrised, ABC):
    """A detector around an estimator: log(1 + bytes) of `Measures`, each standardised by mean and deviation in training.

    Deviations have a floor of 0.01. Contributions are the estimator's own where it has them, else the score shared
    out by squared standardised deviation; `explain` puts one measure after the other back to its mean and scores again.
    """

    library: ClassVar[str] = "scikit-learn"  #: distribution whose version decides what a refit gives; "" for our own

    def __init__(self) -> None:
        self._measures: Measures | None = None
        self._mean = self._scale = np.zeros(0)
        self._train = np.zeros((0, 0))
        self._model: Estimator | None = None

    @abstractmethod
    def make(self) -> Estimator:
        """An unfitted estimator; MimirError where a parameter is impossible or a package is missing."""

    def check(self) -> None:
        """MimirError where the estimator cannot be made."""
        self.make()

    def fit(self, benign: EdgeSeries) -> Self:
        """Learn the points of benign windows; MimirError for fewer than LEAST_WINDOWS."""
        if len(benign) < LEAST_WINDOWS:
            raise MimirError(
                f"{self.name} needs at least {LEAST_WINDOWS} benign windows to fit (got {len(benign)}); raise evaluation.fit_s"
            )
        self._measures = Measures.of(benign)
        logs = np.log1p(self._measures.table(benign))
        self._mean, self._scale = logs.mean(axis=0), np.maximum(logs.std(axis=0), SCALE_FLOOR)
        return self._learn(self._standard(logs))

    def _learn(self, train: Array) -> Self:
        self._train = np.ascontiguousarray(train)
        self._model = self.make()  # may look at how much there is to learn from
        if train.shape[1]:
            self._call(self._model.fit, train)
        return self

    def _call(self, method: Callable[[Array], Any], x: Array) -> Any:
        """Estimators of a library raise what they like: one error of ours, with theirs in it."""
        try:
            return method(x)
        except (ValueError, TypeError, ArithmeticError, np.linalg.LinAlgError) as error:
            raise MimirError(
                f"{self.name} failed on {x.shape[0]} windows × {x.shape[1]} measures: {error}; change its parameters in "
                f"conf/detector/{self.name}.yaml"
            ) from error

    def _standard(self, logs: Array) -> Array:
        return np.asarray((logs - self._mean) / self._scale)

    @once_a_series
    def _points(self, windows: EdgeSeries) -> Array:
        self.require(self._measures is not None)
        assert self._measures is not None
        return self._standard(np.log1p(self._measures.table(windows)))

    def _decide(self, x: Array) -> Array:
        assert self._model is not None
        if not x.size:
            return np.zeros(len(x))
        return np.nan_to_num(np.asarray(self._call(self._model.abnormality, x), dtype=np.float64))

    def score(self, windows: EdgeSeries) -> Scores:
        """The estimator's abnormality; contributions as in the class's description."""
        x = self._points(windows)
        score = self._decide(x)
        assert self._measures is not None
        own = getattr(self._model, "parts", None)
        if own is not None and x.size:
            parts = own(x)
        else:
            square = x**2
            parts = square / np.maximum(square.sum(axis=1, keepdims=True), 1e-300) * np.abs(score)[:, None]
        return Scores(
            windows.window_s, windows.window_start, score, windows.edges, self._measures.to_edges(windows, parts)
        )

    def explain(self, window: Window) -> list[Reason]:
        """The measures without which the score would fall most, each with an edge that exists."""
        x = self._points(window.series)[window.index]
        assert self._measures is not None
        asked = np.argsort(-np.abs(x), kind="stable")[:ASKED]
        trials = np.tile(x, (len(asked) + 1, 1))
        trials[np.arange(len(asked)), asked] = 0.0
        decided = self._decide(trials)
        fall = decided[-1] - decided[:-1]
        reasons: list[Reason] = []
        for i in np.argsort(-fall, kind="stable"):
            named = self._measures.edge_of(int(asked[i]), window)
            if fall[i] > 0 and named and len(reasons) < SHOWN:
                reasons.append(
                    self._reason(*named, int(asked[i]), float(x[asked[i]]), float(decided[-1]), float(fall[i]))
                )
        return reasons

    def _reason(self, edge: Any, words: str, measure: int, z: float, score: float, fall: float) -> Reason:
        usual = float(np.expm1(self._mean[measure]))
        observed = float(max(0.0, np.expm1(self._mean[measure] + z * self._scale[measure])))
        text = (
            f"{words} came to {format_bytes(observed)}, usually {format_bytes(usual)}; at its usual level the score "
            f"would be {score - fall:.3g} instead of {score:.3g}"
        )
        return Reason(self.name, text, edge.client, edge.server, edge.server_port, observed, usual, "bytes")

    def state(self) -> Mapping[str, Any]:
        """Measures, mean and deviation, and the points the estimator was fitted on."""
        self.require(self._measures is not None)
        learned = self._measures.state() if self._measures else {}
        return learned | {
            "mean": self._mean, "scale": self._scale, "train": self._train, "library": installed(self.library)
        }  # fmt: skip

    def load_state(self, state: Mapping[str, Any]) -> Self:
        """The reverse of `state`: fits the estimator again. A warning says when the library has another version now."""
        self._measures = Measures.from_state(state)
        self._mean, self._scale = np.asarray(state["mean"]), np.asarray(state["scale"])
        if state["library"] != installed(self.library):
            LOG.warning(
                "%s was fitted with %s and is fitted again with %s: scores may differ",
                self.name, state["library"], installed(self.library),
            )  # fmt: skip
        return self._learn(np.asarray(state["train"]))


def installed(library: str) -> str:
    """`scikit-learn 1.9.1`; empty for our own estimators."""
    try:
        return f"{library} {version(library)}" if library else ""
    except PackageNotFoundError:
        return f"{library} (absent)"
