"""Exact intervals against scipy's distributions; the block bootstrap against what it promises."""

import numpy as np
import pytest
from scipy import stats

from mimir.evaluation.intervals import UNKNOWN, Blocks, envelope, generator, percentiles, poisson, proportion


@pytest.mark.parametrize(("hits", "trials"), [(0, 3), (3, 3), (1, 3), (50, 3000)])
def test_proportion_is_clopper_pearson(hits: int, trials: int) -> None:
    expected = stats.binomtest(hits, trials).proportion_ci(0.9, method="exact")
    assert proportion(hits, trials, 0.9) == pytest.approx((expected.low, expected.high), abs=1e-12)


@pytest.mark.parametrize("count", [0, 1, 7])
def test_poisson_ends_leave_half_the_rest_on_each_side(count: int) -> None:
    low, high = poisson(count, 1.0, 0.95)
    assert stats.poisson.cdf(count, high) == pytest.approx(0.025)
    if count:
        assert stats.poisson.sf(count - 1, low) == pytest.approx(0.025)
    else:
        assert low == 0.0
    assert poisson(count, 4.0, 0.95) == pytest.approx((low / 4, high / 4))


def blocks(resamples: int = 500) -> tuple[Blocks, np.ndarray]:
    start = 60 * np.arange(600)
    positive = (start >= 7200) & (start < 9000)
    return Blocks.of(start, positive, 3600, resamples, generator(1, 2)), positive


def test_every_resample_has_as_many_leaking_and_quiet_blocks() -> None:
    made, positive = blocks()
    leaking = np.unique(made.index[positive])
    assert (made.leaking, made.quiet) == (len(leaking), 9)
    assert (made.draws.sum(axis=1) == 10).all()
    assert (made.draws[:, leaking].sum(axis=1) == made.leaking).all()
    assert (made.sums(np.ones(600, dtype=bool))[0] == 600).all()


def test_chunks_cover_every_resample_once() -> None:
    made, _ = blocks(101)
    covered = np.concatenate([np.arange(101)[part] for part in made.chunks(most_cells=6000)])
    assert (covered == np.arange(101)).all()


def test_block_bootstrap_is_wider_than_independent_windows_when_alerts_come_in_bursts() -> None:
    start = 60 * np.arange(6000)
    burst = (np.arange(6000) // 60) % 20 == 0  # five whole hours of a hundred
    made = Blocks.of(start, np.zeros(6000, dtype=bool), 3600, 2000, generator(3))
    low, high = percentiles(made.sums(burst)[0] / 6000, 0.95)
    exact = proportion(int(burst.sum()), 6000, 0.95)
    assert low is not None
    assert high is not None
    assert high - low > 4 * (exact[1] - exact[0])
    assert low < burst.mean() < high


def test_streams_differ_by_purpose_and_repeat_by_seed() -> None:
    a, b, again = (generator(5, *key).random(4) for key in ((60, 0), (60, 1), (60, 0)))
    assert (a == again).all()
    assert not (a == b).any()
    assert not (generator((5, 1), 60).random(4) == generator((5, 2), 60).random(4)).any()


def test_percentiles_need_half_of_the_resamples() -> None:
    assert percentiles(np.array([np.nan, np.nan, 1.0]), 0.9) == UNKNOWN
    assert percentiles(np.array([]), 0.9) == UNKNOWN
    assert percentiles(np.array([0.0, 1.0, np.nan]), 0.5) == (0.25, 0.75)


def test_envelope_holds_both() -> None:
    assert envelope((0.1, 0.2), (0.15, 0.3)) == (0.1, 0.3)
    assert envelope((0.1, 0.2), UNKNOWN) == (0.1, 0.2)
    assert envelope(UNKNOWN, UNKNOWN) == UNKNOWN
