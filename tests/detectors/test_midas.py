"""MIDAS on a stream of one edge with 2, 2, 2, 6 connections, every value worked out by hand from the papers' formulas."""

from __future__ import annotations

import numpy as np
import pytest

from mimir.detectors.midas import Midas, MidasF, MidasR
from mimir.detectors.midas.counts import Tally, chi_squared, tick
from mimir.errors import MimirError
from tests.detectors.rival_samples import series, tcp

STREAM = [2.0, 2.0, 2.0, 6.0]


def statistics(decay: float, limit: float | None) -> list[float]:
    tally, out = Tally(*(np.zeros(1) for _ in range(3))), []
    for t, arrived in enumerate(STREAM, 1):
        tally = tick(tally, np.array([arrived]), t, decay, limit)
        out.append(float(tally.score[0]))
    return out


@pytest.mark.parametrize(
    ("decay", "limit", "expected"),
    [
        (0.0, None, [0, 0, 0, (6 - 3) ** 2 * 16 / (12 * 3)]),  # a 2, 2, 2, 6; s 2, 4, 6, 12
        (0.5, None, [0, 1**2 * 4 / 4, 1.5**2 * 9 / (6 * 2), 4.75**2 * 16 / (12 * 3)]),  # a 2, 3, 3.5, 7.75
        (0.5, np.inf, [0, 1**2 / 2, 2**2 / (5 * 2), 14.75**2 / (8.5 * 3)]),  # s 0, 2, 5, 8.5: a comes a tick later
        (0.5, 0.45, [0, 0.5, 3**2 / (4 * 2), 17.25**2 / (6 * 3)]),  # s 0, 2, 4, 6: means in place of 3 and 3.5
    ],
    ids=["midas", "midas_r", "midas_f that filters nothing", "midas_f"],
)
def test_statistics_by_hand(decay: float, limit: float | None, expected: list[float]) -> None:
    assert statistics(decay, limit) == pytest.approx(expected)


def test_an_edge_that_comes_late_scores_its_count_times_the_ticks_before() -> None:
    assert chi_squared(np.array([5.0]), np.array([5.0]), 9) == pytest.approx([5.0 * 8])


def test_scores_go_on_where_training_stopped() -> None:
    edge = tcp("a", "b")
    fit, test = (series({edge: {"connections": c}}) for c in (STREAM[:3], STREAM[3:]))
    assert Midas().set_params(weight="connections").fit(fit).score(test).score == pytest.approx([4.0])


def test_relations_see_what_no_single_edge_shows() -> None:
    """Two new edges of a fan-out each carry 6; the client carries 12 where it used to carry 2."""
    known, one, other = tcp("a", "b"), tcp("a", "c"), tcp("a", "d")
    fit = series({known: {"connections": [2.0] * 3}})
    test = series({known: {"connections": [2.0]}, one: {"connections": [6.0]}, other: {"connections": [6.0]}})
    scores = MidasR().set_params(weight="connections", decay=0.0).fit(fit).score(test)
    client = (14 - 20 / 4) ** 2 * 16 / (20 * 3)  # a 14, s 6 + 14
    assert scores.score == pytest.approx([client])
    assert scores.contributions == pytest.approx(np.full((1, 3), client))


def test_filtering_keeps_a_steady_leak_abnormal() -> None:
    """Without the filter a leak becomes its own past: its statistic falls while it goes on."""
    edge = tcp("a", "b")
    rng = np.random.default_rng(3)
    fit = series({edge: {"request_bytes": rng.normal(1000, 20, 100)}})
    test = series({edge: {"request_bytes": np.full(200, 3000.0)}})
    plain, kept = (cls().fit(fit).score(test).score for cls in (Midas, MidasF))
    assert plain[-1] < plain[0] / 2
    assert kept[-1] > kept[5] / 1.5


@pytest.mark.parametrize("wrong", [{"weight": "flows"}, {"decay": 1.0}])
def test_parameters_are_checked(wrong: dict[str, object]) -> None:
    with pytest.raises(MimirError, match=r"detector\.weight must be one of connections, packets, bytes"):
        MidasR().set_params(**wrong).fit(series({tcp("a", "b"): {"connections": [1.0]}}))
