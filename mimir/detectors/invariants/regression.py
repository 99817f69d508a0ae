"""One invariant: y(t) = β₀ + Σ βᵣ xᵣ(t) + ε with variance that follows the level, fitted robustly on few windows.

Weighted ridge (Hoerl & Kennard 1970), strength by cross-validation over contiguous blocks; outliers lose weight
(Huber 1964); σ²(t) = s₀² + s₁² ŷ(t) + s₂² ŷ(t)² by profile likelihood on cross-validated residuals, so that the scale is
that of windows the fit has not seen. Independent replies give the second term; the third is a random effect that all
replies of a window share, such as contents that have grown (Breslow 1984). Linear invariants of request counts: Jiang,
Chen & Yoshihira 2006.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

ROUNDS = 3  #: of reweighting
RIDGE_STEPS = (0.1, 1.0, 10.0, 100.0)  #: multiples of the given strength tried by cross-validation
#: shares of the variance at the mean level that may follow the level, and its square
LEVEL_SHARES = (
    (0.0, 0.0),
    (0.25, 0.0),
    (0.5, 0.0),
    (0.75, 0.0),
    (0.95, 0.0),
    (0.45, 0.5),
    (0.0, 0.5),
    (0.2, 0.75),
    (0.0, 0.95),
)
HUBER = 2.5  #: residuals beyond this many σ lose weight
WINSOR = 4.0  #: residuals are cut here before their scale is taken
LEVEL_FLOOR = 0.05  #: ŷ below this share of its mean does not make the variance smaller
#: s over which the level that the variance follows is averaged: what a request causes may fall into the window after it (or
#: be seen before its cause), so a short window that expects nothing is not certain of nothing
AROUND_S = 60


@dataclass(frozen=True)
class Fit:
    """A fitted invariant. `beta` = (β₀, β₁ … β_P); `covariance` of beta, in (unit of y)²."""

    beta: Array
    covariance: Array
    s0_squared: float
    s1_squared: float
    s2_squared: float
    common: float  #: share of the noise variance that neighbouring windows have in common
    around: int = 1  #: windows whose mean level the variance follows

    def predict(self, x: Array) -> tuple[Array, Array, Array]:
        """(T,) prediction, variance of an observation around it, and the part of that which neighbouring windows share.

        They share the error of β and slow changes of what a request causes.
        """
        full = with_intercept(x)
        level = full @ self.beta
        noise = self.variance(recent_mean(level, self.around))
        leverage = np.maximum(self.leverage(full), 0.0)
        return level, noise + leverage, leverage + self.common * noise

    def variance(self, level: Array) -> Array:
        """σ²(t) = s₀² + s₁² ŷ(t) + s₂² ŷ(t)² at these levels."""
        return _noise((self.s0_squared, self.s1_squared, self.s2_squared), level)

    def leverage(self, full: Array) -> Array:
        """Variance of the prediction that comes from not knowing β exactly; large away from the training data."""
        out: Array = ((full @ self.covariance) * full).sum(axis=1)
        return out


def recent_mean(level: Array, windows: int) -> Array:
    """(T,) mean over the last so many windows, fewer at the start of a series."""
    if windows <= 1:
        return level
    total = np.cumsum(level)
    total[windows:] = total[windows:] - total[:-windows]
    return np.asarray(total / np.minimum(np.arange(1, len(level) + 1), windows))


def with_intercept(x: Array) -> Array:
    """(T, P) → (T, 1 + P)."""
    return np.hstack([np.ones((len(x), 1)), x])


def blocks(windows: int) -> NDArray[np.int64]:
    """Fold number of each window: contiguous blocks, so that dependence between neighbours does not flatter the fit."""
    folds = int(np.clip(windows // 30, 5, 10))
    return np.arange(windows, dtype=np.int64) * min(folds, max(windows, 1)) // max(windows, 1)


def fit(x: Array, y: Array, free: int, ridge: float, floor: float, memory: int, around: int = 1) -> tuple[Fit, Array]:
    """A fitted invariant and its (T,) cross-validated residuals in units of σ(t).

    The first `free` regressors are not penalised. `floor` is the smallest σ allowed, in units of y;
    `memory` how many windows residuals may depend on each other, `around` those whose mean level the variance follows.
    """
    full, fold = with_intercept(x), blocks(len(y))
    scale = np.sqrt((full**2).mean(axis=0))
    scale[scale == 0] = 1.0
    z = full / scale
    weight = _first_weights(x, y, floor)
    penalised = np.arange(z.shape[1]) > free
    for left in reversed(range(ROUNDS)):
        held_out, strength = _cross_validate(z, y, weight, penalised, fold, ridge)
        beta, inverse = _solve(z, y, weight, penalised, strength)
        # the level that the variance follows must not be the held-out one: with few windows it is noisy
        level = recent_mean(z @ beta, around)
        terms = _variance(y - held_out, level, floor, LEVEL_SHARES[::2] if left else LEVEL_SHARES)
        sigma2 = _noise(terms, level)
        standard = np.abs(y - held_out) / np.sqrt(sigma2)
        weight = np.minimum(1.0, HUBER / np.maximum(standard, 1e-12)) / sigma2
    inflation = dependence((y - held_out) / np.sqrt(sigma2), memory)
    common = (inflation - 1) / max(memory - 1, 1)
    model = Fit(beta / scale, inflation * inverse / np.outer(scale, scale), *terms, common, around)
    return model, (y - held_out) / np.sqrt(sigma2 + model.leverage(full))


def dependence(residual: Array, memory: int) -> float:
    """By how much dependence inflates the variance of a sum over `memory` windows; ≥ 1.

    Batch means (Alexopoulos & Seila 1998): variance of block means against that of independent windows.
    """
    whole = len(residual) // memory
    if whole < 2:
        return 1.0
    cut = np.clip(residual[: whole * memory], -WINSOR, WINSOR).reshape(whole, memory)
    return max(1.0, memory * float((cut.mean(axis=1) ** 2).mean()) / max(float((cut**2).mean()), 1e-12))


def _first_weights(x: Array, y: Array, floor: float) -> Array:
    """1 / level, the level taken from the first regressor: enough to start with."""
    level = np.ones(len(y))
    if x.shape[1] and x[:, 0].mean() > 0:
        level = x[:, 0] / x[:, 0].mean()
    mean_square = max(float((y**2).mean()), floor**2)
    return 1.0 / (np.maximum(level, 0.2) * mean_square)


def _cross_validate(
    z: Array, y: Array, weight: Array, penalised: NDArray[np.bool_], fold: NDArray[np.int64], ridge: float
) -> tuple[Array, float]:
    """Held-out predictions at the best ridge strength, and that strength."""
    count = int(fold.max()) + 1
    starts = np.searchsorted(fold, np.arange(count))
    wz = z * weight[:, None]
    spans = list(pairwise([*starts.tolist(), len(y)]))
    grams = np.stack([wz[a:b].T @ z[a:b] for a, b in spans])
    sides = np.stack([wz[a:b].T @ y[a:b] for a, b in spans])
    gram, side = grams.sum(axis=0), sides.sum(axis=0)
    base = float(np.trace(gram)) / len(gram)
    strengths = ridge * np.array(RIDGE_STEPS) * base
    jitter = 1e-9 * base * np.eye(len(gram))
    left = (gram - grams)[None] + jitter + strengths[:, None, None, None] * np.diag(penalised.astype(np.float64))
    beta = np.linalg.solve(left, np.broadcast_to((side - sides)[None, :, :, None], (*left.shape[:3], 1)))[..., 0]
    predicted = np.stack([np.concatenate([z[a:b] @ s[f] for f, (a, b) in enumerate(spans)]) for s in beta])
    error = np.abs(y - predicted) * np.sqrt(weight)
    cut = WINSOR * np.maximum(np.median(error, axis=1, keepdims=True), 1e-12)
    best = int(np.argmin((np.minimum(error, cut.min()) ** 2).sum(axis=1)))
    return predicted[best], float(strengths[best])


def _solve(z: Array, y: Array, weight: Array, penalised: NDArray[np.bool_], strength: float) -> tuple[Array, Array]:
    wz = z * weight[:, None]
    gram = wz.T @ z
    inverse = np.linalg.inv(
        gram + (1e-9 * np.trace(gram) / len(gram)) * np.eye(len(gram)) + np.diag(strength * penalised)
    )
    return inverse @ (wz.T @ y), inverse


def _noise(terms: tuple[float, float, float], level: Array) -> Array:
    above = np.maximum(level, 0.0)
    return np.asarray(terms[0] + (terms[1] + terms[2] * above) * above)


def _variance(
    residual: Array, level: Array, floor: float, shares: Sequence[tuple[float, float]]
) -> tuple[float, float, float]:
    """s₀², s₁², s₂² of σ² = s₀² + s₁² level + s₂² level², by profile likelihood over `shares` on winsorised residuals."""
    mean = float(np.maximum(level, 0.0).mean())
    if mean <= 0:
        return max(floor**2, _robust_square(residual)), 0.0, 0.0
    relative = np.maximum(level / mean, LEVEL_FLOOR)
    best = (np.inf, floor**2, 0.0, 0.0)
    for linear, square in shares:
        shape = 1 - linear - square + (linear + square * relative) * relative
        size = max(_robust_square(residual / np.sqrt(shape)), floor**2)
        cut = np.minimum((residual**2) / (shape * size), WINSOR**2)
        loss = float((np.log(shape * size) + cut).sum())
        best = min(best, (loss, size * (1 - linear - square), size * linear / mean, size * square / mean**2))
    return max(best[1], (0.2 * floor) ** 2), best[2], best[3]


def _robust_square(residual: Array) -> float:
    """Mean square after cutting at WINSOR robust standard deviations; the plain one where most residuals are 0."""
    spread = 1.4826 * float(np.median(np.abs(residual)))
    if spread == 0:
        return float((residual**2).mean())
    return float((np.minimum(np.abs(residual), WINSOR * spread) ** 2).mean())


def fit_state(model: Fit) -> dict[str, Any]:
    """A fit as JSON values and arrays."""
    return {
        "beta": model.beta, "covariance": model.covariance, "s0_squared": model.s0_squared,
        "s1_squared": model.s1_squared, "s2_squared": model.s2_squared, "common": model.common, "around": model.around,
    }  # fmt: skip


def fit_from_state(state: Mapping[str, Any]) -> Fit:
    """The reverse of `fit_state`."""
    return Fit(
        np.asarray(state["beta"]), np.asarray(state["covariance"]), float(state["s0_squared"]),
        float(state["s1_squared"]), float(state["s2_squared"]), float(state["common"]), int(state["around"]),
    )  # fmt: skip
