"""EWMA and moving sums against values worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from mimir.detectors.cusum import Cusum
from mimir.detectors.ewma import Ewma
from mimir.errors import MimirError
from tests.support.few_edges import few

AB = ("a", "b")
FIT = few({AB: [1000.0, 3000.0]})  # mean 2000, standard deviation 1000


def test_ewma_follows_the_recursion() -> None:
    """m, v: (2000, 1e6) → x = 1000: (1500, 1e6) → x = 3000: (2250, 1.625e6); then 10 kB twice, clipped to 3 σ."""
    detector = Ewma(weight=0.5, clip=3.0).fit(FIT)
    state = detector.state()
    assert state["mean"] == pytest.approx([2250])
    assert state["scale"] ** 2 == pytest.approx([1.625e6])
    sigma = 1.625e6**0.5
    first = (10_000 - 2250) / sigma
    second = (10_000 - (2250 + 0.5 * 3 * sigma)) / (0.5 * 1.625e6 + 0.5 * 9 * 1.625e6) ** 0.5
    assert detector.score(few({AB: [10_000.0, 10_000.0]})).score == pytest.approx([first, second])


def test_ewma_without_clipping_learns_the_leak_sooner() -> None:
    leak = few({AB: [2000.0] + [50_000.0] * 20})
    clipped, plain = (Ewma(0.05, clip).fit(FIT).score(leak).score for clip in (3.0, 1e9))
    assert clipped[1] == plain[1]
    assert clipped[2] > 2 * plain[2]


def test_an_unknown_edge_is_measured_by_the_median_spread_of_the_others() -> None:
    known = few({("a", "b"): [1000.0, 3000.0], ("a", "c"): [0.0, 4000.0], ("b", "c"): [0.0, 8000.0]})
    scores = Cusum(memory=[1]).fit(known).score(few({("c", "d"): [10_000.0]}))
    assert scores.score == pytest.approx([10_000 / 2000])


def test_constant_edges_have_a_floor() -> None:
    constant = few({AB: [50_000.0] * 4})
    assert Cusum(memory=[1]).fit(constant).score(few({AB: [50_500.0]})).score == pytest.approx([1.0])  # 1 %
    small = few({AB: [50.0] * 4})
    assert Cusum(memory=[1]).fit(small).score(few({AB: [150.0]})).score == pytest.approx([1.0])  # 100 B


def test_moving_sums_by_hand() -> None:
    """z = 2, −1, 3; over 1 and 3 windows: max(2, 2/√3), max(−1, 1/√3), max(3, 4/√3)."""
    scores = Cusum(memory=[1, 3]).fit(FIT).score(few({AB: [4000.0, 1000.0, 5000.0]}))
    assert scores.score == pytest.approx([2.0, 1 / 3**0.5, 3.0])
    assert scores.contributions[:, 0] == pytest.approx(scores.score)


def test_page_by_hand() -> None:
    scores = Cusum("cusum", [1], 0.5).fit(FIT).score(few({AB: [4000.0, 1000.0, 5000.0]}))
    assert scores.score == pytest.approx([1.5, 0.0, 2.5])


def test_moving_sums_recover_after_an_attack_and_page_does_not() -> None:
    series = few({AB: [2000.0] * 5 + [50_000.0] * 5 + [2000.0] * 30})
    mosum, page = (Cusum(form, [1, 5]).fit(FIT).score(series).score for form in ("mosum", "cusum"))
    assert mosum[7] > 50
    assert mosum[-1] == pytest.approx(0, abs=1e-9)
    assert page[-1] > 100


def test_moving_sums_find_a_small_shift_that_one_window_hides() -> None:
    rng = np.random.default_rng(1)
    benign = few({AB: rng.normal(100_000, 10_000, 2000)})
    shifted = few({AB: rng.normal(105_000, 10_000, 200)})  # half a standard deviation
    for memory, found in (([1], 0.02), ([60], 0.5)):
        detector = Cusum(memory=memory).fit(benign)
        limit = np.quantile(detector.score(benign).score, 0.999)
        assert (detector.score(shifted).score[60:] > limit).mean() == pytest.approx(
            found, abs=0.5 if found > 0.1 else 0.02
        )


@pytest.mark.parametrize("detector", [Ewma(weight=0), Ewma(clip=0), Cusum("other"), Cusum(memory=[]), Cusum(slack=-1)])
def test_parameters_out_of_range_are_refused(detector: Ewma | Cusum) -> None:
    with pytest.raises(MimirError, match="conf/detector"):
        detector.fit(FIT)
