"""Kitsune: statistics against their definitions as sums over the past, networks against what they must learn."""

from __future__ import annotations

import numpy as np
import pytest

from mimir.detectors.kitsune import Kitsune
from mimir.detectors.kitsune.autoencoders import Encoders, KitNet, Training, feature_groups
from mimir.detectors.kitsune.statistics import NAMES, damped, edge_features, joint
from mimir.errors import MimirError
from tests.detectors.rival_samples import series, tcp

DECAYS = np.array([5.0, 1.0, 0.1])
RNG = np.random.default_rng(8)
PACKETS = RNG.integers(0, 9, (12, 1)).astype(float)
BYTES = PACKETS * RNG.integers(60, 1400, (12, 1))
OTHER = PACKETS[::-1].copy()
OTHER_BYTES = OTHER * RNG.integers(60, 1400, (12, 1))
HOW = Training(0.75, 1.0, 200, 16)


def by_definition(packets: np.ndarray, bytes_: np.ndarray, t: int, decay: float) -> tuple[float, float, float]:
    """Weight, mean and deviation as weighted moments of all packets so far, each as old as its window."""
    age = 2.0 ** (-decay * (t - np.arange(t + 1)))
    sizes = bytes_[: t + 1, 0] / np.maximum(packets[: t + 1, 0], 1)
    weights = age * packets[: t + 1, 0]
    mean = np.average(sizes, weights=weights)
    return weights.sum(), mean, np.sqrt(np.average((sizes - mean) ** 2, weights=weights))


@pytest.mark.parametrize("decay", range(len(DECAYS)))
def test_damped_statistics_are_weighted_moments(decay: int) -> None:
    out = damped(PACKETS, BYTES, DECAYS)
    for t in range(2, 12):
        expected = by_definition(PACKETS, BYTES, t, DECAYS[decay])
        assert out[t, 0, decay] == pytest.approx(expected, rel=1e-6, abs=1e-4)


@pytest.mark.parametrize("decay", range(len(DECAYS)))
def test_joint_statistics_by_definition(decay: int) -> None:
    lam = DECAYS[decay]
    up, down = damped(PACKETS, BYTES, DECAYS), damped(OTHER, OTHER_BYTES, DECAYS)
    sizes = tuple(np.where(n > 0, b / np.maximum(n, 1), np.nan) for n, b in ((PACKETS, BYTES), (OTHER, OTHER_BYTES)))
    out = joint(sizes, (up, down), DECAYS)
    for t in range(12):
        products, count = 0.0, 0.0
        for k in range(t + 1):
            one, other = sizes[0][k, 0], sizes[1][k, 0]
            if np.isfinite(one) and np.isfinite(other):
                age = 2.0 ** (-lam * (t - k))
                products += age * (one - up[k, 0, decay, 1]) * (other - down[k, 0, decay, 1])
                count += age
        covariance = products / count if count else 0.0
        (_, m1, s1), (_, m2, s2) = up[t, 0, decay], down[t, 0, decay]
        correlation = np.clip(covariance / (s1 * s2), -1, 1) if s1 * s2 > 1e-9 else 0.0
        expected = [np.hypot(m1, m2), np.sqrt(s1**4 + s2**4), covariance, correlation]
        assert out[t, 0, decay] == pytest.approx(expected, rel=1e-6, abs=1e-6)


def test_client_statistics_add_up_its_edges() -> None:
    counters = {"request_packets": [2.0, 4], "request_bytes": [200.0, 800]}
    both = edge_features(series({tcp("a", "b"): counters, tcp("a", "c"): counters, tcp("d", "b"): counters}), [1.0])
    weight = NAMES.index("client weight")
    assert both[1, :, weight].tolist() == [10.0, 10.0, 5.0]  # 2 · (4 + 2/2), and half of it for d


def test_groups_hold_what_moves_together_and_are_small() -> None:
    base = RNG.normal(size=(300, 3))
    x = np.hstack([base + 0.01 * RNG.normal(size=(300, 3)) for _ in range(4)])
    groups = feature_groups(x, 4)
    assert groups == [[i, i + 3, i + 6, i + 9] for i in range(3)]
    assert sorted(f for g in feature_groups(x, 3) for f in g) == list(range(12))
    assert max(map(len, feature_groups(x, 3))) <= 3


def test_an_auto_encoder_learns_what_it_saw_and_nothing_else() -> None:
    base = RNG.random((400, 1))
    x = 0.2 + 0.6 * np.hstack([base, 1 - base, base])
    rng = np.random.default_rng(1)
    one = Encoders.of([[0, 1, 2]], 0.75, rng)
    before = one.errors(x).mean()
    one.train(x, HOW, rng)
    assert one.errors(x).mean() < before / 3
    assert one.errors(np.array([[0.8, 0.8, 0.2]]))[0, 0] > 3 * one.errors(x).mean()


def test_padding_changes_nothing() -> None:
    """A group of 2 beside one of 3 is trained as if it stood alone."""
    x = RNG.random((64, 5))
    pair = Encoders.of([[0, 1], [2, 3, 4]], 1.0, np.random.default_rng(1))
    alone = Encoders(
        np.array([[0, 1]]),
        np.ones((1, 2)),
        np.ones((1, 2)),
        pair.weights[:1, :2, :2].copy(),
        np.zeros((1, 2)),
        np.zeros((1, 2)),
    )
    for encoders in (pair, alone):
        encoders.train(x, Training(1.0, 1.0, 3, 16), np.random.default_rng(2))
    assert pair.errors(x)[:, 0] == pytest.approx(alone.errors(x)[:, 0])


def test_gradient_is_that_of_cross_entropy() -> None:
    """One full-batch step moves weights down the numerical gradient of −Σ x log z + (1 − x) log(1 − z)."""
    x = RNG.random((8, 3))
    one = Encoders.of([[0, 1, 2]], 1.0, np.random.default_rng(4))

    def loss(weights: np.ndarray) -> float:
        _, _, z = Encoders(one.index, one.mask, one.hidden, weights, one.up, one.down)._pass(x)
        return float(-(x * np.log(z[0]) + (1 - x) * np.log(1 - z[0])).sum(axis=1).mean())

    start, numerical = one.weights.copy(), np.zeros_like(one.weights)
    for place in np.ndindex(*start.shape):
        nudge = np.zeros_like(start)
        nudge[place] = 1e-6
        numerical[place] = (loss(start + nudge) - loss(start - nudge)) / 2e-6
    one.train(x, Training(1.0, 0.01, 1, 8), np.random.default_rng(5))
    assert (one.weights - start) / 0.01 == pytest.approx(-numerical, abs=1e-4)


def test_state_of_the_networks_is_complete() -> None:
    net = KitNet.fitted(RNG.random((50, 4)), [[0, 1], [2, 3]], Training(0.75, 1.0, 2, 8), 1)
    x = RNG.random((9, 4))
    assert np.array_equal(KitNet.from_state(net.state()).score(x), net.score(x))


def test_parameters_are_checked() -> None:
    with pytest.raises(MimirError, match=r"detector\.epochs must be ≥ 1 \(got 0\)"):
        Kitsune().set_params(epochs=0).fit(series({tcp("a", "b"): {"request_bytes": [60.0], "request_packets": [1.0]}}))
