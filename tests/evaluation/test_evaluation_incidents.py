"""When is a leak seen, how late, and what had gone by then."""

import numpy as np
import pytest

from mimir.evaluation.incidents import EVENT_MEASURES, belongs, event_measures, outcome
from mimir.evaluation.intervals import generator
from mimir.evaluation.truth import split_ledger
from tests.evaluation.evaluation_samples import PATH, T0, make_incident

STARTS = T0 + 60 * np.arange(180)


def judge(alerting: list[int], alerts: dict | None = None, **changes: object) -> object:
    leak = split_ledger([make_incident(**changes)])[0][0]
    mask = np.zeros(len(STARTS), dtype=bool)
    mask[alerting] = True
    return outcome(leak, STARTS, mask, 60, alerts or {})


def test_delay_counts_to_the_end_of_the_alerting_window() -> None:
    seen = judge([62, 64])
    assert (seen.detected, seen.first_alert, seen.delay_s) == (True, T0 + 62 * 60, 180.0)
    assert seen.bytes_before_alert == pytest.approx(180_000)


def test_a_leak_that_starts_inside_a_window_can_be_seen_before_a_window_length_has_passed() -> None:
    seen = judge([60], start=T0 + 3645.0)
    assert seen.delay_s == 15.0
    assert seen.bytes_before_alert == pytest.approx(15_000)


@pytest.mark.parametrize(("window", "counts"), [(59, False), (60, True), (69, True), (70, True), (71, False)])
def test_the_window_after_the_end_still_counts_and_no_other(window: int, counts: bool) -> None:
    assert judge([window]).detected is counts


def test_an_alert_before_the_first_byte_is_no_detection() -> None:
    start = T0 + 3600.0
    late = {"delivered": [[start + 300, 50]], "bytes_delivered": 50}
    assert judge([60], **late).detected is False
    assert judge([64], **late).detected is True
    leak = split_ledger([make_incident(**late)])[0][0]
    assert np.flatnonzero(belongs(leak, STARTS, 60)).tolist() == list(range(64, 71))


def test_nothing_delivered_or_nothing_scored_is_neither_hit_nor_miss() -> None:
    assert judge([61], bytes_delivered=0, delivered=[]).detected is None
    gone = judge([61], start=T0 + 1e6)
    assert gone.detected is None
    assert "no scored window" in gone.row()["reason"]


def test_the_named_path_is_that_of_the_first_alert() -> None:
    wrong = ["user-db", "front-end", "outside:x"]
    alerts = {
        T0 + 61 * 60: {"path": wrong, "reasons": [{"path": [*PATH[:-1], "outside:203.0.113.9"]}]},
        T0 + 62 * 60: {"path": PATH},
    }
    seen = judge([61, 62], alerts)
    assert seen.row()["path_named"] == wrong
    assert seen.path_correct() is False
    assert seen.path_correct(among=3) is True


def test_event_measures() -> None:
    outcomes = [judge([60]), judge([61]), judge([69]), judge([])]
    got = event_measures(outcomes, 0.95, 200, generator(1))
    assert set(got) == set(EVENT_MEASURES)
    assert got["event_recall"]["value"] == 0.75
    assert got["undetected_share"]["value"] == 0.25
    assert got["event_recall"]["low"] == pytest.approx(1 - got["undetected_share"]["high"])
    assert got["delay_median_s"]["value"] == 120.0
    assert got["delay_median_s"]["low"] == 60.0
    assert got["delay_p90_s"]["value"] == pytest.approx(np.quantile([60, 120, 600], 0.9))
    assert got["bytes_before_alert_median"]["value"] == pytest.approx(120_000)
    assert got["path_top1"]["reason"] == "the detector names no paths"


def test_all_detected_is_not_certainty() -> None:
    got = event_measures([judge([60])] * 3, 0.95, 50, generator(1))
    assert got["event_recall"] == {"value": 1.0, "low": pytest.approx(0.2924, abs=1e-4), "high": 1.0, "reason": None}


def test_an_alert_without_a_path_counts_as_wrong_when_others_name_one() -> None:
    named = judge([60], {T0 + 3600: {"path": PATH}})
    got = event_measures([named, judge([61])], 0.95, 50, generator(1))
    assert got["path_top1"]["value"] == 0.5


def test_missed_and_absent_incidents_have_reasons() -> None:
    missed = event_measures([judge([])], 0.95, 50, generator(1))
    assert missed["event_recall"]["value"] == 0.0
    assert missed["delay_median_s"]["reason"] == "no incident was detected"
    absent = event_measures([judge([61], bytes_delivered=0, delivered=[])], 0.95, 50, generator(1))
    assert all(m["value"] is None and m["reason"] for m in absent.values())
