"""Parts with different claims share one budget fairly."""

from __future__ import annotations

import numpy as np
import pytest

from mimir.detectors.combination import Combination, PartCalibration

BENIGN = np.random.default_rng(1).exponential(size=3000)


def test_a_part_that_was_silent_keeps_its_own_scale() -> None:
    assert PartCalibration(np.zeros(100), 60).surprise(np.array([0.0, 5.0])).tolist() == [0.0, 5.0]


def test_surprise_is_conformal_and_goes_on_beyond_the_largest() -> None:
    part = PartCalibration(BENIGN, 60)
    ranks = part.surprise(np.sort(BENIGN))
    assert ranks[-1] == pytest.approx(np.log10(3001 / 2))
    assert (np.diff(ranks) >= 0).all()
    beyond = part.surprise(BENIGN.max() + np.array([0.0, 1.0, 10.0]))
    assert beyond[0] < beyond[1] < beyond[2]


@pytest.mark.parametrize("how", ["bonferroni", "harmonic"])
def test_a_part_that_claims_too_much_does_not_use_up_the_budget(how: str) -> None:
    rng = np.random.default_rng(2)
    loud, fair = 10 * rng.exponential(size=4000), rng.exponential(size=4000)
    made = Combination({"loud": 1, "fair": 1}, how).calibrate({"loud": loud[:2000], "fair": fair[:2000]}, 60)
    test = made.score({"loud": loud[2000:], "fair": fair[2000:]})
    assert (test > 2).mean() < 0.02
    hit = made.score({"loud": np.array([1.0]), "fair": np.array([25.0])})
    assert hit[0] > test.max()


def test_benign_scores_are_judged_by_other_hours() -> None:
    made = Combination({"a": 1.0})
    scores = made.benign_scores({"a": BENIGN}, 60)
    own = made.calibrate({"a": BENIGN}, 60).score({"a": BENIGN})
    assert scores.max() > own.max(), "the largest must not be compared with itself"
    assert np.corrcoef(scores, own)[0, 1] > 0.95


def test_state_comes_back() -> None:
    made = Combination({"a": 2, "b": 1}).calibrate({"a": BENIGN, "b": np.zeros(3000)}, 60)
    again = Combination({"a": 2, "b": 1}).load_state(made.state())
    probe = {"a": np.array([1.0, 9.0]), "b": np.array([0.0, 4.0])}
    assert np.array_equal(again.score(probe), made.score(probe))
