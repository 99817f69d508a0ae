"""Idé & Kashima's eigenspace method against identities of small graphs, and its threshold against χ²."""

from __future__ import annotations

from math import cos, pi, sqrt

import numpy as np
import pytest
from scipy.stats import chi2

from mimir.detectors.activity import activity_vectors, typical_pattern
from mimir.detectors.eigenvector import Eigenvector
from mimir.detectors.fisher import Moments
from mimir.errors import MimirError
from tests.support.few_edges import few

PAIR, PATH = [("a", "b")], [("a", "b"), ("b", "c")]


def test_activity_vectors_of_known_graphs() -> None:
    """A pair: (1, 1)/√2 whatever its weight. A path a–b–c of equal weights: (1, √2, 1)/2. A star of n leaves: 1/√2 and 1/√(2n)."""
    assert activity_vectors("ab", PAIR, np.array([[3.0], [7.0]])) == pytest.approx(np.full((2, 2), 1 / sqrt(2)))
    assert activity_vectors("abc", PATH, np.array([[5.0, 5.0]]))[0] == pytest.approx([0.5, sqrt(2) / 2, 0.5])
    star = activity_vectors("abcde", [("a", x) for x in "bcde"], np.full((1, 4), 2.0))[0]
    assert star == pytest.approx([1 / sqrt(2)] + [1 / sqrt(8)] * 4)


def test_only_the_direction_of_the_weights_counts() -> None:
    weights = np.array([[1.0, 4.0]])
    assert activity_vectors("abc", PATH, weights) == pytest.approx(activity_vectors("abc", PATH, 10 * weights))


@pytest.mark.parametrize("angle", [0.1, pi / 6, pi / 3, 1.5])
def test_the_typical_pattern_of_two_directions_is_their_bisector(angle: float) -> None:
    one, two = np.array([1.0, 0.0]), np.array([cos(angle), cos(pi / 2 - angle)])
    pattern = typical_pattern(np.array([one, two]))
    assert 1 - pattern @ one == pytest.approx(1 - cos(angle / 2))
    assert 1 - pattern @ two == pytest.approx(1 - cos(angle / 2))


def test_a_new_edge_turns_the_vector_by_the_angle_between_the_graphs() -> None:
    """From the pair to the path: 1 − (1/√2)(1/2) − (1/√2)(√2/2)."""
    detector = Eigenvector(history=5).fit(few({("a", "b"): [1e5] * 6}))
    scores = detector.score(few({("a", "b"): [1e5, 1e5], ("b", "c"): [0.0, 1e5]}))
    assert scores.score == pytest.approx([0.0, 1 - 0.5 / sqrt(2) - 0.5], abs=1e-12)
    assert scores.contributions.sum(axis=1) == pytest.approx(scores.score, abs=1e-12)
    assert scores.contributions[1, 1] == pytest.approx(0.125), "c, and so the new edge: ½ (½ − 0)²"


def test_a_lasting_change_becomes_the_typical_pattern() -> None:
    detector = Eigenvector(history=5).fit(few({("a", "b"): [1e5] * 6}))
    score = detector.score(few({("a", "b"): [1e5] * 12, ("b", "c"): [0.0, 0.0] + [1e5] * 10})).score
    assert score[2] > 0.1
    assert score[7:] == pytest.approx(0, abs=1e-12)
    assert (np.diff(score[2:8]) < 1e-12).all()


def test_moments_give_back_dimension_and_spread() -> None:
    """⟨z⟩ = (n − 1) Σ and ⟨z²⟩ = (n² − 1) Σ², so n − 1 and Σ follow; the threshold is Σ times a χ² quantile."""
    n, spread = 6.5, 0.003
    moments = Moments((n - 1) * spread, (n**2 - 1) * spread**2)
    assert moments.freedom == pytest.approx(n - 1)
    assert moments.spread == pytest.approx(spread)
    assert moments.threshold(0.005) == pytest.approx(spread * chi2.isf(0.005, n - 1))


def test_the_threshold_is_exceeded_as_often_as_asked() -> None:
    z = 0.002 * np.random.default_rng(3).chisquare(4.0, 50_000)
    assert (z > Moments.of(z[:25_000]).threshold(0.01))[25_000:].mean() == pytest.approx(0.01, rel=0.15)


def test_moments_forget() -> None:
    assert tuple(Moments(1.0, 2.0).updated(3.0, 0.5)) == (2.0, 5.5)
    limits = Moments(1.0, 2.0).thresholds(np.array([3.0, 0.0]), 0.5, 0.1)
    assert limits == pytest.approx([Moments(1.0, 2.0).threshold(0.1), Moments(2.0, 5.5).threshold(0.1)])


def test_the_papers_threshold_makes_one_the_alarm() -> None:
    rng = np.random.default_rng(5)
    noise = few({pair: rng.lognormal(11, 0.5, 300) for pair in (("a", "b"), ("b", "c"), ("c", "d"), ("a", "d"))})
    detector = Eigenvector(5, "fisher", 0.01, 0.02).fit(noise)
    plain = Eigenvector(5).fit(noise)
    again = few({pair: rng.lognormal(11, 0.5, 300) for pair in (("a", "b"), ("b", "c"), ("c", "d"), ("a", "d"))})
    score = detector.score(again)
    assert 0 < (score.score > 1).mean() < 0.05
    assert score.score[0] == pytest.approx(plain.score(again).score[0] / detector._moments.threshold(0.01))
    assert score.contributions.sum(axis=1) == pytest.approx(score.score)


@pytest.mark.parametrize("bad", [{"history": 0}, {"threshold": "x"}, {"critical": 1.0}, {"discount": 0.0}])
def test_parameters_out_of_range_are_refused(bad: dict) -> None:
    with pytest.raises(MimirError, match=r"conf/detector/eigenvector\.yaml"):
        Eigenvector(**bad).fit(few({("a", "b"): [1e5] * 6}))
