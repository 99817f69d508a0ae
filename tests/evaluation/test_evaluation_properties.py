"""What must hold for any scores and any leaks."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from hypothesis import given, settings
from hypothesis import strategies as st

from mimir.evaluation.localisation import SIZE_MEASURES
from mimir.evaluation.windows import WINDOW_MEASURES
from mimir.files import to_json
from tests.evaluation.evaluation_samples import T0, make_alerts, make_incident, make_metrics, make_scores

WINDOWS = 40
FEW = settings(max_examples=40, deadline=None)
SCORES = st.lists(st.integers(0, 6).map(float), min_size=WINDOWS, max_size=WINDOWS)
LEAKS = st.lists(
    st.tuples(st.integers(0, WINDOWS * 60), st.integers(1, 900), st.sampled_from(["dns", "new_edge"])), max_size=3
)


def ledger(leaks: list[tuple[int, int, str]]) -> list[dict[str, Any]]:
    return [make_incident(f"i{n}", T0 + float(at), float(d), path_class=c) for n, (at, d, c) in enumerate(leaks)]


def overall(scores: pd.DataFrame, truth: list[dict[str, Any]]) -> dict[str, Any]:
    return make_metrics(scores, truth, bootstrap_resamples=10)["windows"]["60"]["overall"]


@FEW
@given(SCORES, LEAKS, st.randoms(use_true_random=False))
def test_the_order_of_rows_never_matters(values: list[float], leaks: list, random: Any) -> None:
    scores, truth = make_scores(values), ledger(leaks)
    alerts = make_alerts(scores)
    expected = to_json(make_metrics(scores, truth, alerts))
    order = list(range(len(scores)))
    for rows in (order, alerts, truth):
        random.shuffle(rows)
    assert to_json(make_metrics(scores.iloc[order], truth, alerts)) == expected


@FEW
@given(SCORES, LEAKS, st.integers(0, 6), st.integers(0, 6))
def test_raising_the_threshold_never_raises_recall_or_false_alerts_or_shortens_a_delay(
    values: list[float], leaks: list, first: int, second: int
) -> None:
    low, high = sorted((first, second))
    truth = ledger(leaks)
    at_low, at_high = (overall(make_scores(values, threshold=t), truth) for t in (low, high))
    for name in ("event_recall", "recall", "false_positive_rate", "false_alerts_per_day"):
        assert (at_low[name]["value"] is None) == (at_high[name]["value"] is None)
        if at_low[name]["value"] is not None:
            assert at_high[name]["value"] <= at_low[name]["value"]
    for name in ("average_precision", "auroc", "partial_auroc", "oracle_f1"):
        assert at_low[name] == at_high[name]
    found = [make_metrics(make_scores(values, threshold=t), truth)["incidents"] for t in (low, high)]
    for early, late in zip(*found, strict=True):
        if late["detected"]:
            assert early["detected"]
            assert early["delay_s"] <= late["delay_s"]
            assert early["bytes_before_alert"] <= late["bytes_before_alert"]


@FEW
@given(SCORES, LEAKS)
def test_every_measure_has_either_a_value_in_its_range_or_a_reason(values: list[float], leaks: list) -> None:
    got = make_metrics(make_scores(values), ledger(leaks), bootstrap_resamples=10)
    to_json(got)
    part = got["windows"]["60"]
    for name, m in part["overall"].items():
        assert (m["value"] is None) == (m["reason"] is not None), name
        assert (m["low"] is None) == (m["high"] is None), name
        if m["value"] is not None and name in WINDOW_MEASURES and name != "false_alerts_per_day":
            assert 0 <= m["value"] <= 1, name
    assert part["test"]["windows"] == WINDOWS
    assert part["test"]["positive_windows"] + part["test"]["excluded_windows"] <= WINDOWS
    for incident in got["incidents"]:
        if incident["detected"]:
            assert 0 < incident["delay_s"] <= incident["end"] - incident["start"] + 120
            assert 0 < incident["bytes_before_alert"] <= incident["bytes_delivered"]


@FEW
@given(SCORES)
def test_leak_off_is_null_with_a_reason(values: list[float]) -> None:
    got = overall(make_scores(values), [])
    defined = {name for name, m in got.items() if m["value"] is not None}
    assert defined == {"false_positive_rate", "false_alerts_per_day"}


@FEW
@given(SCORES, LEAKS)
def test_ranking_does_not_depend_on_the_unit_of_the_score(values: list[float], leaks: list) -> None:
    truth = ledger(leaks)
    plain = overall(make_scores(values, threshold=3.0), truth)
    scaled = overall(make_scores([1000 * v + 7 for v in values], threshold=3007.0), truth)
    assert plain == scaled


@FEW
@given(SCORES, LEAKS)
def test_the_same_input_gives_the_same_bytes(values: list[float], leaks: list) -> None:
    scores, truth = make_scores(values), ledger(leaks)
    assert to_json(make_metrics(scores, truth)) == to_json(make_metrics(scores.copy(), list(truth)))


@FEW
@given(SCORES, LEAKS, st.integers(0, WINDOWS - 1))
def test_one_more_false_alert_never_helps(values: list[float], leaks: list, position: int) -> None:
    truth = ledger(leaks)
    before = overall(make_scores(values), truth)
    louder = np.asarray(values)
    louder[position] = 9.0
    after = overall(make_scores(louder.tolist()), truth)
    benign_hit = after["false_positive_rate"]["value"] != before["false_positive_rate"]["value"]
    if benign_hit:
        assert after["false_alerts_per_day"]["value"] > before["false_alerts_per_day"]["value"]
        assert after["recall"] == before["recall"]
        for name in ("f1", "precision", "precision_monthly"):
            if before[name]["value"] is not None:
                assert after[name]["value"] <= before[name]["value"]


def test_size_measures_are_part_of_every_result() -> None:
    assert set(SIZE_MEASURES) <= set(overall(make_scores([0.0] * WINDOWS), []))
