"""Thresholds: exact where the recording is long enough, extrapolated and saying so where it is not, never made up."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mimir.detectors.calibration import Calibration, cluster_peaks, pareto_moments
from mimir.errors import MimirError

RNG = np.random.default_rng(5)


def test_p_values_are_conformal() -> None:
    calibration = Calibration([1.0, 2.0, 3.0, 4.0], 60)
    assert calibration.p_values([0.0, 2.5, 4.0, 5.0]) == pytest.approx([1.0, 3 / 5, 2 / 5, 1 / 5])


def test_the_threshold_agrees_with_the_p_values() -> None:
    scores = RNG.normal(size=5000)
    calibration = Calibration(scores, 60)
    threshold = calibration.threshold(10)
    assert threshold.method == "conformal"
    assert not threshold.extrapolated
    beside = np.array([threshold.value, np.nextafter(threshold.value, np.inf)])
    p = calibration.p_values(beside)
    assert p[0] > threshold.level >= p[1]


@given(st.lists(st.floats(-5, 5), min_size=1, max_size=60), st.lists(st.floats(-9, 9), min_size=2, max_size=20))
@settings(max_examples=50, deadline=None)
def test_p_values_fall_as_scores_rise(benign: list[float], scores: list[float]) -> None:
    p = Calibration(benign, 60).p_values(sorted(scores))
    assert (np.diff(p) <= 1e-12).all()
    assert ((p > 0) & (p <= 1)).all()


def test_a_short_recording_is_extrapolated_and_says_so() -> None:
    scores = RNG.exponential(size=180)
    threshold = Calibration(scores, 60).threshold(1)
    assert threshold.extrapolated
    assert threshold.method == "tail"
    assert threshold.calibration_windows == 180
    assert "extrapolated" in threshold.note
    assert threshold.value >= scores.max()


def test_above_the_extrapolated_threshold_p_is_below_the_level() -> None:
    calibration = Calibration(RNG.exponential(size=300), 60)
    threshold = calibration.threshold(1)
    assert calibration.p_values([threshold.value * 1.001])[0] <= threshold.level


@pytest.mark.parametrize(("windows", "low", "high"), [(180, 0.3, 4), (720, 0.3, 4)])
def test_extrapolation_keeps_the_alert_budget(windows: int, low: float, high: float) -> None:
    truth = np.sort(RNG.exponential(size=400_000))
    rates = []
    for _ in range(60):
        value = Calibration(RNG.exponential(size=windows), 60).threshold(1).value
        rates.append((len(truth) - np.searchsorted(truth, value)) / len(truth) * 1440)
    assert low < np.mean(rates) < high


def test_dependent_windows_count_as_one_peak() -> None:
    scores = np.zeros(400)
    for start in (20, 120, 230, 330):
        scores[start : start + 12] = np.arange(12) + start / 100 + 1
    assert sorted(cluster_peaks(scores, 0.5)) == pytest.approx([12.2, 13.2, 14.3, 15.3])


def test_independent_windows_stay_apart() -> None:
    scores = RNG.normal(size=3000)
    assert len(cluster_peaks(scores, 1.5)) > 0.7 * (scores > 1.5).sum()


def test_a_heavy_tail_is_seen_as_heavy() -> None:
    light, _ = pareto_moments(RNG.exponential(size=2000))
    heavy, _ = pareto_moments(RNG.pareto(2.5, size=2000))
    assert heavy > light + 0.15


def test_constant_scores_alert_above_the_constant_and_admit_ignorance() -> None:
    threshold = Calibration(np.zeros(180), 60).threshold(1)
    assert threshold.value == 0.0
    assert threshold.extrapolated
    assert "all are equal" in threshold.note
    assert Calibration(np.zeros(180), 60).p_values([1e9])[0] == pytest.approx(1 / 181)


def test_too_few_peaks_are_not_extrapolated() -> None:
    scores = np.zeros(50)
    scores[10:13] = [1.0, 2.0, 1.5]
    threshold = Calibration(scores, 60).threshold(1)
    assert threshold.method == "conformal"
    assert threshold.extrapolated
    assert threshold.value == 2.0
    assert "peaks" in threshold.note


def test_no_scores_no_threshold() -> None:
    with pytest.raises(MimirError, match="no calibration scores"):
        Calibration([], 60)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_scores_must_be_finite(bad: float) -> None:
    with pytest.raises(MimirError, match="not finite"):
        Calibration([1.0, bad], 60)


@pytest.mark.parametrize("budget", [0.0, -1.0, 1441.0])
def test_the_budget_must_be_possible(budget: float) -> None:
    with pytest.raises(MimirError, match="alerts_per_day"):
        Calibration([1.0, 2.0], 60).threshold(budget)
