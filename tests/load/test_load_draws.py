"""Draws inside compiled loops have the distributions they are named after."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from mimir.load import draws

N = 20_000


def state(seed: int = 1) -> draws.State:
    return draws.state_of(np.random.SeedSequence(seed))


def test_splitmix64_gives_the_published_numbers() -> None:
    """First outputs of splitmix64 from state 0 (Vigna's reference program)."""
    zero = np.zeros(1, dtype=np.uint64)
    assert [int(draws.next_word(zero)) for _ in range(3)] == [
        0xE220A8397B1DCDAF,
        0x6E789E6AA1B965F4,
        0x06C45D188009454F,
    ]


@pytest.mark.parametrize(
    ("draw", "distribution"),
    [
        (lambda s: draws.uniform(s), stats.uniform()),
        (lambda s: draws.between(s, 2.0, 5.0), stats.uniform(2, 3)),
        (lambda s: draws.normal(s), stats.norm()),
        (lambda s: draws.lognormal(s, math.log(7), 0.4), stats.lognorm(0.4, scale=7)),
    ],
)
def test_distributions(draw: object, distribution: object) -> None:
    random = state()
    sample = [draw(random) for _ in range(N)]  # type: ignore[operator]
    assert stats.kstest(sample, distribution.cdf).pvalue > 1e-3  # type: ignore[attr-defined]


def test_whole_numbers_cover_their_range_evenly() -> None:
    random = state(2)
    counts = np.bincount([draws.below(random, 7) for _ in range(N)], minlength=7)
    assert len(counts) == 7
    assert stats.chisquare(counts).pvalue > 1e-3


def test_a_sigma_of_zero_is_exact_and_spends_nothing() -> None:
    random = state(3)
    before = int(random[0])
    assert draws.lognormal(random, math.log(42), 0.0) == pytest.approx(42)
    assert int(random[0]) == before
