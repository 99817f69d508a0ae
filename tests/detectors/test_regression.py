"""The regression behind I3: right coefficients, honest scales, robust to bursts, wide where it knows nothing."""

from __future__ import annotations

import numpy as np
import pytest

from mimir.detectors.invariants.regression import Fit, blocks, dependence, fit, recent_mean
from mimir.detectors.invariants.regressors import Gram
from mimir.detectors.invariants.tails import bend, normal_equivalent, stretch, surprise, surprise_of_bytes

RNG = np.random.default_rng(3)


def requests(windows: int, peak: float = 400) -> np.ndarray:
    """Request counts of a load that swings between 38 and 100 %."""
    swing = 0.69 - 0.31 * np.cos(np.arange(windows) / windows * 4 * np.pi)
    return RNG.poisson(peak * swing).astype(float)


def sizes(count: np.ndarray, mean: float, cv: float) -> np.ndarray:
    return RNG.gamma(count / cv**2, mean * cv**2)


def test_coefficients_are_found() -> None:
    x = np.stack([requests(400), requests(400, 80)], axis=1)
    model, _ = fit(x, sizes(x[:, 0], 1500, 0.5) + sizes(x[:, 1], 9000, 0.5), 1, 0.01, 250, 6)
    assert model.beta[1:] == pytest.approx([1500, 9000], rel=0.05)


@pytest.mark.parametrize("windows", [60, 180, 1000])
def test_residuals_of_unseen_windows_have_unit_scale(windows: int) -> None:
    scales = []
    for _ in range(12):
        x, fresh = requests(windows)[:, None], requests(500)[:, None]
        model, held_out = fit(x, sizes(x[:, 0], 1500, 0.8), 1, 0.01, 250, 6)
        level, variance, _ = model.predict(fresh)
        z = (sizes(fresh[:, 0], 1500, 0.8) - level) / np.sqrt(variance)
        scales.append((z.std(), held_out.std()))
    assert np.mean([s[0] for s in scales]) == pytest.approx(1, abs=0.12)
    assert np.mean([s[1] for s in scales]) == pytest.approx(1, abs=0.12)


def test_the_variance_follows_the_level() -> None:
    x = requests(1000)[:, None]
    model, _ = fit(x, sizes(x[:, 0], 1500, 0.8), 1, 0.01, 250, 6)
    low, high = model.variance(np.array([100 * 1500.0, 400 * 1500.0]))
    assert 2 < high / low < 4.5  # 4 if all of it follows the level


def test_contents_that_all_replies_share_make_the_variance_follow_the_square_of_the_level() -> None:
    x = requests(1000)[:, None]
    contents = np.exp(0.25 * RNG.normal(size=1000))
    model, held_out = fit(x, x[:, 0] * 1500 * contents, 1, 0.01, 250, 6)
    low, high = model.variance(np.array([100 * 1500.0, 400 * 1500.0]))
    assert high / low > 8  # 16 if all of it is shared, at most 4 if none
    busy = x[:, 0] > np.median(x)
    assert held_out[busy].std() == pytest.approx(held_out[~busy].std(), rel=0.3)


def test_the_variance_follows_the_level_of_the_last_windows() -> None:
    model = Fit(np.array([0.0, 1.0]), np.zeros((2, 2)), 1.0, 2.0, 3.0, 0.0, around=2)
    assert recent_mean(np.array([4.0, 0.0, 2.0]), 2).tolist() == [4.0, 2.0, 1.0]
    level, variance, _ = model.predict(np.array([[4.0], [0.0], [2.0]]))
    assert level.tolist() == [4.0, 0.0, 2.0]
    assert variance.tolist() == [1 + 2 * m + 3 * m**2 for m in (4.0, 2.0, 1.0)]


def test_a_few_huge_replies_do_not_move_the_fit() -> None:
    x = requests(180)[:, None]
    y = sizes(x[:, 0], 1500, 0.5)
    clean, _ = fit(x, y, 1, 0.01, 250, 6)
    y[[20, 90, 150]] += 5e6
    burst, residual = fit(x, y, 1, 0.01, 250, 6)
    assert burst.beta[1] == pytest.approx(clean.beta[1], rel=0.1)
    assert burst.variance(np.array([6e5]))[0] < 4 * clean.variance(np.array([6e5]))[0]
    assert residual[[20, 90, 150]].min() > 20


def test_far_from_training_the_prediction_is_less_certain() -> None:
    x = requests(60)[:, None]
    model, _ = fit(x, sizes(x[:, 0], 1500, 0.8), 1, 0.01, 250, 6)
    _, _, shared = model.predict(np.array([[x.mean()], [5 * x.max()]]))
    assert shared[1] > 10 * shared[0]


@pytest.mark.parametrize("target", [np.zeros(60), np.full(60, 7e4)])
def test_constant_targets_keep_the_floor(target: np.ndarray) -> None:
    model, residual = fit(np.zeros((60, 1)), target, 1, 0.01, 250, 6)
    level, variance, _ = model.predict(np.zeros((3, 1)))
    assert level == pytest.approx(target[:3], abs=1)
    assert np.sqrt(variance) == pytest.approx(250, rel=0.2)
    assert np.abs(residual).max() < 0.1


def test_no_regressor_is_allowed() -> None:
    model, _ = fit(np.zeros((60, 0)), RNG.normal(100, 5, 60), 0, 0.01, 1, 6)
    assert model.beta == pytest.approx([100], abs=3)


def test_folds_are_contiguous_and_even() -> None:
    fold = blocks(185)
    assert (np.diff(fold) >= 0).all()
    assert np.ptp(np.bincount(fold)) <= 1


def test_dependence_is_seen() -> None:
    white = RNG.normal(size=3000)
    slow = np.repeat(RNG.normal(size=500), 6)
    assert dependence(white, 6) < 1.3
    assert dependence(slow, 6) == pytest.approx(6, rel=0.2)
    assert dependence(white[:5], 6) == 1.0


def test_selection_takes_what_explains_and_stops() -> None:
    counts = np.stack([requests(300), requests(300, 90), requests(300, 50), requests(300, 300)], axis=1)
    target = 5 * counts[:, 0] + 700 * counts[:, 1] + RNG.normal(0, 300, 300)
    chosen = Gram(counts).choose(target, np.array([1, 2, 3]), [0], 3)
    assert chosen[:2] == [0, 1]
    assert len(chosen) <= 3
    assert Gram(counts).choose(target, np.array([], dtype=np.int64), [], 3) == []


def test_tails_learn_from_bursts_and_surprise_is_monotone() -> None:
    calm, bursty = RNG.normal(size=(300, 1)), RNG.normal(size=(300, 1))
    bursty[40] = 30
    unit = np.ones(2)
    factor = stretch(np.hstack([calm, bursty]), unit)
    assert factor[0] < 1.6
    assert factor[1] > 3 * factor[0]
    z = np.linspace(-10, 50, 200)[:, None]
    n = normal_equivalent(np.hstack([z, z]), factor, unit)
    assert (np.diff(n, axis=0) >= 0).all()
    assert n[-1, 1] < n[-1, 0]
    s = bend(surprise(np.linspace(-5, 60, 300), 40.0))
    assert np.isfinite(s).all()
    assert (np.diff(s) >= 0).all()


def test_surprise_of_bytes_is_zero_only_for_nothing() -> None:
    values = surprise_of_bytes(np.array([0.0, 1.0, 1e3, 1e5]))
    assert values[0] == 0
    assert (np.diff(values) > 0).all()
