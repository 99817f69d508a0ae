"""The contract every detector keeps: fit on benign windows, score (higher = more abnormal), explain in words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, Self, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from mimir.flows.edges import EdgeKey, EdgeSeries, Window


@dataclass(frozen=True)
class Scores:
    """One score a window, plus what each edge contributed (same unit as the score where the method allows)."""

    window_s: int
    window_start: NDArray[np.int64]  # (T,)
    score: NDArray[np.float64]  # (T,), finite
    edges: tuple[EdgeKey, ...]
    contributions: NDArray[np.float64]  # (T, E)
    reference: NDArray[np.float64] | None = None  # (T,) scores of the frozen fit, where `partial_fit` has moved it


@dataclass(frozen=True)
class Reason:
    """Why a window looks abnormal, in words and in numbers. Names are entity names that exist in the series."""

    family: str  #: the regularity that broke: a detector name or an invariant family (I1 …)
    text: str
    client: str
    server: str
    server_port: int
    observed: float
    expected: float
    unit: str  #: of observed and expected: "bytes", "connections" …
    p_value: float | None = None
    path: tuple[str, ...] = ()  #: services the data is believed to pass, store first, outside last
    pods: tuple[str, ...] = ()
    bytes_estimate: float | None = None  #: leaked in this window
    bytes_low: float | None = None
    bytes_high: float | None = None
    technique: str = ""  #: ATT&CK id that fits
    proto: str = "tcp"  #: of the edge
    since: int | None = None  #: UTC epoch s of the first window that the reason rests on
    look_alikes: tuple[str, ...] = ()  #: benign events that would look the same


class Detector(Protocol):
    """A detector holds no threshold; `mimir.detectors.calibration` turns scores into alerts."""

    name: str

    def get_params(self) -> dict[str, Any]:
        """Parameters as JSON values."""
        ...

    def set_params(self, **params: Any) -> Self:
        """Change parameters before a fit; unknown names raise MimirError."""
        ...

    def fit(self, benign: EdgeSeries) -> Self:
        """Learn from benign windows only."""
        ...

    def score(self, windows: EdgeSeries) -> Scores:
        """One score a window, higher = more abnormal; raises NotFittedError before `fit`."""
        ...

    def explain(self, window: Window) -> list[Reason]:
        """Why this window looks abnormal, strongest reason first; [] where nothing does."""
        ...

    def state(self) -> Mapping[str, Any]:
        """Everything learned, as JSON values and numpy arrays: what `load_state` needs to go on. No pickle."""
        ...

    def load_state(self, state: Mapping[str, Any]) -> Self:
        """The reverse of `state`; scores are identical."""
        ...


@runtime_checkable
class Calibrated(Protocol):
    """A detector of several parts, which needs their benign distributions before it can combine them."""

    def calibrate(self, benign: EdgeSeries) -> Scores:
        """Learn from benign windows it was not fitted on; their scores, each as if it had not been learned from."""
        ...


@runtime_checkable
class Supervised(Protocol):
    """A detector that is shown labelled leaks after `fit`; before that it can score nothing."""

    def learn(self, windows: EdgeSeries, labels: NDArray[np.int8]) -> Self:
        """Learn from windows with `labels` (T,): 1 a leak delivered bytes in it, 0 benign, -1 neither (left out)."""
        ...


@runtime_checkable
class Mapped(Protocol):
    """A detector that can state, before any leak, what it would not see."""

    def blind_spots(self, windows: EdgeSeries, threshold: float) -> list[dict[str, Any]]:
        """One row a path: what could leave over it, in bytes a minute, without an alert at this threshold."""
        ...
