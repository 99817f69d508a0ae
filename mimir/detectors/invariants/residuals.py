"""Linear invariants of any kind, judged alike: regression, own tails, sums over windows, surprise (used by I4 and I6)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mimir.detectors.invariants import chains, tails
from mimir.detectors.invariants.regression import AROUND_S, Fit, fit, fit_from_state, fit_state

Array = NDArray[np.float64]

UNIT = 0.5  #: σ above the knee where residuals begin to count logarithmically
MIN_STRETCHES = 12  #: stretches of K windows that training must hold for sums over K windows to be used


@dataclass(frozen=True)
class Judged:
    """(T, N) observed, expected, σ, surprise of each target, and over how many windows it was summed up."""

    observed: Array
    expected: Array
    sigma: Array
    surprise: Array
    length: NDArray[np.int64]

    def span(self, window: int, target: int) -> slice:
        """Windows that the surprise of a target rests on."""
        return slice(max(0, window + 1 - int(self.length[window, target])), window + 1)


class LinearInvariants:
    """N targets, each with regressors of its own. Surprise is −log₁₀ p of the strongest sum, corrected for N."""

    def __init__(self, ridge: float, memory: Sequence[int]):
        self.ridge, self.lengths = ridge, tuple(sorted({1, *memory}))
        self._drift = np.zeros(0)
        self._fits: list[Fit] = []
        self._stretch = np.zeros(0)
        self._location = self._scale = np.zeros((0, 1))
        self._freedom = np.ones(1)

    def fit(self, targets: Sequence[tuple[Array, Array]], floor: float, drift: Sequence[float], window_s: int) -> None:
        """Learn from pairs of (T,) target and (T, P) regressors; `floor` is the smallest σ, in units of the target.

        `drift` of each target: share of the expected value by which it may be off for long.
        """
        self._drift = np.array(drift, dtype=np.float64)
        windows = len(targets[0][0]) if targets else 0
        self.lengths = tuple(k for k in self.lengths if k == 1 or k * MIN_STRETCHES <= windows)
        around = max(1, AROUND_S // window_s)
        pairs = [fit(x, y, x.shape[1], self.ridge, floor, max(self.lengths), around) for y, x in targets]
        self._fits = [model for model, _ in pairs]
        held_out = np.stack([r for _, r in pairs], axis=1) if pairs else np.zeros((windows, 0))
        self._stretch = tails.stretch(held_out, np.full(held_out.shape[1], UNIT))
        stretches = windows / np.array(self.lengths, dtype=np.float64)
        self._freedom = stretches + chains.POOLED
        scatter = [chains.scatter(s) for s in self._sums(held_out, self._residuals(targets)[3])]
        self._location = np.array([s[0] for s in scatter]).reshape(-1, len(self.lengths))
        spread = np.array([s[1] for s in scatter]).reshape(-1, len(self.lengths))
        self._scale = chains.pooled_scale(spread, stretches, np.zeros(len(spread)))

    def _residuals(self, targets: Sequence[tuple[Array, Array]]) -> tuple[Array, Array, Array, Array]:
        """(T, N) observed, expected, σ, and the share of σ that neighbouring windows have in common."""
        windows = len(targets[0][0]) if targets else 0
        out = np.zeros((4, windows, len(targets)))
        for n, ((y, x), model) in enumerate(zip(targets, self._fits, strict=True)):
            expected, variance, shared = model.predict(x)
            drift = (self._drift[n] * expected) ** 2
            out[:, :, n] = y, expected, np.sqrt(variance + drift), np.sqrt((shared + drift) / (variance + drift))
        return out[0], out[1], out[2], out[3]

    def _sums(self, standard: Array, shared: Array) -> list[Array]:
        """Per target the (T, K) sums of normal equivalents over the last K windows, in units of their σ."""
        normal = tails.normal_equivalent(standard, self._stretch, np.full(standard.shape[1], UNIT))
        one = np.ones(len(standard))
        signals = [
            chains.Signal(normal[:, n], one, shared[:, n : n + 1], np.zeros((len(one), 1)))
            for n in range(standard.shape[1])
        ]
        return [chains.statistics(s, self.lengths) for s in signals]

    def judge(self, targets: Sequence[tuple[Array, Array]]) -> Judged:
        """Residuals and surprises of these windows."""
        observed, expected, sigma, shared = self._residuals(targets)
        surprise, length = np.zeros_like(observed), np.ones(observed.shape, dtype=np.int64)
        price = np.log10(max(observed.shape[1], 1))
        for n, sums in enumerate(self._sums((observed - expected) / np.maximum(sigma, 1e-300), shared)):
            z = chains.held((sums - self._location[n]) / self._scale[n], self.lengths)
            of_length = tails.surprise(z, self._freedom)
            best = of_length.argmax(axis=1)
            surprise[:, n] = np.maximum(np.take_along_axis(of_length, best[:, None], axis=1)[:, 0] - price, 0.0)
            length[:, n] = np.array(self.lengths)[best]
        return Judged(observed, expected, sigma, tails.bend(surprise), length)

    def state(self) -> Mapping[str, Any]:
        """Everything learned."""
        return {
            "lengths": list(self.lengths), "drift": self._drift, "fits": [fit_state(f) for f in self._fits], "stretch": self._stretch,
            "location": self._location, "scale": self._scale, "freedom": self._freedom,
        }  # fmt: skip

    def load_state(self, state: Mapping[str, Any]) -> None:
        """The reverse of `state`."""
        self.lengths = tuple(int(k) for k in state["lengths"])
        self._drift = np.asarray(state["drift"])
        self._fits = [fit_from_state(f) for f in state["fits"]]
        self._stretch, self._location = np.asarray(state["stretch"]), np.asarray(state["location"])
        self._scale, self._freedom = np.asarray(state["scale"]), np.asarray(state["freedom"])
