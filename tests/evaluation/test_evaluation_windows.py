"""Window measures: counts, base rates, degenerate cases."""

import numpy as np
import pytest

from mimir.evaluation.intervals import generator
from mimir.evaluation.windows import (
    MONTHLY_PREVALENCE,
    WINDOW_MEASURES,
    Resampling,
    Windows,
    precision_at,
    window_measures,
)
from tests.evaluation.evaluation_samples import T0

HOW = Resampling(confidence=0.95, resamples=100, block_s=3600)


def windows(tp: int, fp: int, fn: int, tn: int, window_s: int = 60) -> Windows:
    positive = np.repeat([True, False, True, False], [tp, fp, fn, tn])
    alert = np.repeat([True, True, False, False], [tp, fp, fn, tn])
    start = T0 + window_s * np.arange(len(positive))
    return Windows(window_s, start, alert.astype(float), alert, positive)


def measures(*counts: int, window_s: int = 60) -> dict:
    return window_measures(windows(*counts, window_s=window_s), HOW, generator(1))


def test_counts() -> None:
    got = measures(8, 4, 2, 1426)
    assert set(got) == set(WINDOW_MEASURES)
    assert got["recall"]["value"] == 0.8
    assert got["precision"]["value"] == pytest.approx(8 / 12)
    assert got["f1"]["value"] == pytest.approx(16 / 22)
    assert got["false_positive_rate"]["value"] == pytest.approx(4 / 1430)
    assert got["false_alerts_per_day"]["value"] == pytest.approx(4 / (1430 / 1440))
    rate = 4 / 1430
    monthly = 0.8 * MONTHLY_PREVALENCE / (0.8 * MONTHLY_PREVALENCE + rate * (1 - MONTHLY_PREVALENCE))
    assert got["precision_monthly"]["value"] == pytest.approx(monthly)


def test_false_alerts_a_day_follow_the_window_length() -> None:
    assert measures(0, 1, 0, 8639, window_s=10)["false_alerts_per_day"]["value"] == pytest.approx(1.0)


def test_no_false_alert_is_not_no_risk() -> None:
    got = measures(10, 0, 0, 3000)
    assert got["false_positive_rate"]["value"] == 0.0
    assert got["false_positive_rate"]["high"] == pytest.approx(1 - 0.025 ** (1 / 3000))
    assert got["false_alerts_per_day"]["high"] == pytest.approx(3.6889 / (3000 / 1440), rel=1e-4)
    assert got["precision_monthly"]["value"] == 1.0


def test_three_thousand_quiet_windows_show_a_rate_below_a_thousandth_one_sided() -> None:
    got = window_measures(windows(0, 0, 0, 3000), Resampling(0.9, 10, 3600), generator(1))
    assert got["false_positive_rate"]["high"] < 1e-3


def test_the_interval_of_false_alerts_widens_when_they_come_in_a_burst() -> None:
    alone, burst = np.zeros(6000, dtype=bool), np.zeros(6000, dtype=bool)
    alone[:: 6000 // 60] = True
    burst[600:660] = True
    start, quiet = T0 + 60 * np.arange(6000), np.zeros(6000, dtype=bool)
    made = [window_measures(Windows(60, start, a * 1.0, a, quiet), HOW, generator(1)) for a in (alone, burst)]
    assert made[0]["false_alerts_per_day"]["value"] == made[1]["false_alerts_per_day"]["value"]
    assert made[1]["false_alerts_per_day"]["high"] > 1.5 * made[0]["false_alerts_per_day"]["high"]


def test_base_rates_of_the_design() -> None:
    assert precision_at(0.9, 0.01, 0.1) == pytest.approx(0.909, abs=1e-3)
    assert precision_at(0.9, 0.01, MONTHLY_PREVALENCE) == pytest.approx(0.111, abs=1e-3)
    assert precision_at(0.0, 0.0, 0.1) is None
    assert precision_at(None, 0.1, 0.1) is None


@pytest.mark.parametrize(
    ("counts", "name", "reason"),
    [
        ((0, 2, 0, 100), "recall", "no leak"),
        ((0, 2, 0, 100), "average_precision", "no leak"),
        ((0, 2, 0, 100), "precision_monthly", "no leak"),
        ((5, 0, 5, 0), "false_positive_rate", "no benign"),
        ((5, 0, 5, 0), "auroc", "no benign"),
        ((0, 0, 5, 100), "auroc", "all scores are the same"),
        ((0, 0, 5, 100), "oracle_f1", "all scores are the same"),
        ((0, 0, 5, 100), "precision", "no alert"),
        ((0, 0, 5, 100), "precision_monthly", "no alert"),
    ],
)
def test_degenerate_cases_are_null_with_a_reason(counts: tuple[int, ...], name: str, reason: str) -> None:
    got = measures(*counts)[name]
    assert (got["value"], got["low"], got["high"]) == (None, None, None)
    assert reason in got["reason"]


def test_missing_everything_is_zero_not_null() -> None:
    got = measures(0, 0, 5, 100)
    assert (got["recall"]["value"], got["f1"]["value"]) == (0.0, 0.0)


def test_no_windows_at_all() -> None:
    got = measures(0, 0, 0, 0)
    assert all(m["value"] is None and m["reason"] for m in got.values())


def test_one_leaking_block_gives_no_interval_for_recall_and_several_do() -> None:
    assert measures(5, 0, 5, 1000)["recall"]["low"] is None
    positive = np.arange(1440) % 240 < 10
    alert = positive & (np.arange(1440) < 800)
    many = Windows(60, T0 + 60 * np.arange(1440), alert + 0.5 * positive, alert, positive)
    got = window_measures(many, HOW, generator(1))
    for name in ("recall", "f1", "precision", "average_precision", "auroc", "partial_auroc", "oracle_f1"):
        assert got[name]["low"] <= got[name]["value"] <= got[name]["high"], name
    assert got["recall"]["low"] < got["recall"]["high"]
