"""Floor: seeded noise. Where a method is no better than this, its number says something about the test, not about it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import numpy as np

from mimir.detectors.base import Reason, Scores
from mimir.detectors.parameters import Parametrised
from mimir.flows.edges import EdgeSeries, Window


class RandomScores(Parametrised):
    """Score = a uniform number in [0, 1) drawn from (`seed`, start of the window): the data are not looked at.

    Source: Mimir
    Family: floor
    Supervised: no
    Needs: nothing
    Complexity: O(T)
    Limits: sees nothing; it breaks the contract of a detector on purpose, and the registry says where
    """

    name = "random"
    parameters = ("seed",)

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed
        self._fitted = False

    def fit(self, benign: EdgeSeries) -> Self:
        """Nothing to learn."""
        self._fitted = True
        return self

    def score(self, windows: EdgeSeries) -> Scores:
        """One number a window; the same window always gets the same one. Contributions are 0."""
        self.require(self._fitted)
        drawn = [np.random.default_rng([abs(self.seed), int(start)]).random() for start in windows.window_start]
        none = np.zeros((len(windows), len(windows.edges)))
        return Scores(windows.window_s, windows.window_start, np.array(drawn, dtype=np.float64), windows.edges, none)

    def explain(self, window: Window) -> list[Reason]:
        """There are no reasons."""
        self.require(self._fitted)
        return []

    def state(self) -> Mapping[str, Any]:
        """That `fit` was called."""
        self.require(self._fitted)
        return {"fitted": True}

    def load_state(self, state: Mapping[str, Any]) -> Self:
        """The reverse of `state`."""
        self._fitted = bool(state["fitted"])
        return self
