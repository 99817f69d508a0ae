"""Beacon scores of worked examples, and which edges they are taken of."""

from __future__ import annotations

import numpy as np
import pytest

from mimir.detectors.beacon import BeaconDetector, duration_score, histogram_score, regularity
from mimir.errors import MimirError
from tests.detectors.rival_samples import series, tcp

OUT = tcp("user-db", "outside:sink", 443)


def every(windows: int, step: int, size: float = 500.0) -> dict[str, np.ndarray]:
    """A connection with `size` bytes every `step` windows."""
    began = (np.arange(windows) % step == 0).astype(float)
    return {"connections": began, "request_payload_bytes": began * size, "request_packets": began}


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([60, 60, 60, 60], 1.0),
        (
            [58, 60, 61, 63],
            (1 + (60.5 - 1.5) / 60.5) / 2,
        ),  # quartiles closer than 10: no skewness; MAD of 2.5, .5, .5, 2.5
        ([10, 20, 30, 60, 100], (0.5 + 1 / 3) / 2),  # Q 20, 30, 60: skewness 20 / 40; MAD 20
        ([0, 0, 0, 0], 1.0),  # nothing is sent each time: regular
        ([1, 1000, 2000], (1 + (1000 - 999) / 1000) / 2),  # Q 500.5, 1000, 1500: skewness .0005; MAD 999
    ],
)
def test_regularity_by_hand(values: list[float], expected: float) -> None:
    assert regularity(np.array(values, dtype=float)) == pytest.approx(expected, abs=3e-4)


@pytest.mark.parametrize(
    ("bars", "expected"),
    [
        ([6] * 20, 1.0),
        ([0] * 20, 0.0),
        ([100] + [0] * 19, 0.0),  # coefficient of variation √19
        ([8, 12] * 10, 1.0),  # two levels: 20 of 20 − 1 bars, at most 1
        ([10] * 5 + [20] * 5 + [40] * 5 + [80] * 5, 10 / 19),  # four levels: two of them hold half
        ([5] * 6 + [0] * 4, 1 - np.sqrt(2 / 3)),  # too few bars for levels; mean 3, deviation √6
    ],
)
def test_histogram_by_hand(bars: list[int], expected: float) -> None:
    assert histogram_score(np.array(bars, dtype=float)) == pytest.approx(expected)


def test_duration_by_hand() -> None:
    assert duration_score(0, 1800, np.array([1.0, 0, 1, 0]), 3600) == 0.5  # half of the time; runs of 1 of 4 bars
    assert duration_score(0, 3600, np.zeros(4), 3600) == 1.0


def test_a_perfect_beacon_scores_one_and_is_known_by_its_parts() -> None:
    fit = series({tcp("a", "b"): every(120, 1)})
    windows = series({OUT: every(120, 3), tcp("a", "b"): every(120, 1)})
    detector = BeaconDetector().fit(fit)
    scores = detector.score(windows)
    assert scores.score[117] == pytest.approx(1.0, abs=0.02)
    assert not scores.score[118:].any(), "an edge counts in windows in which it connects"
    assert scores.contributions[117, scores.edges.index(tcp("a", "b"))] == 0, (
        "inside the cluster is none of its business"
    )
    reason = detector.explain(windows.at(117))[0]
    assert (reason.client, reason.server) == ("user-db", "outside:sink")
    assert "interval 1.00, size 1.00" in reason.text


def test_random_connections_are_no_beacon() -> None:
    rng = np.random.default_rng(5)
    began = (rng.random(120) < 0.15).astype(float)
    windows = series({OUT: {"connections": began, "request_payload_bytes": began * rng.pareto(1.2, 120) * 1000}})
    assert BeaconDetector().fit(series({tcp("a", "b"): every(120, 1)})).score(windows).score.max() < 0.75


def test_what_was_regular_in_training_is_usual() -> None:
    windows = series({OUT: every(120, 3)})
    assert not BeaconDetector().fit(windows).score(windows).score.any()


def test_parameters_are_checked() -> None:
    with pytest.raises(MimirError, match="lookback_s must hold a window of 60 s for each of 20 bars"):
        BeaconDetector().set_params(lookback_s=600).fit(series({OUT: every(20, 1)}))
