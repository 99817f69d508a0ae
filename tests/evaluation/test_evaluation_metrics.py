"""metrics.json as a whole."""

from typing import Any

import numpy as np
import pandas as pd
import pytest

from mimir.errors import MimirError
from mimir.evaluation import MEASURES, evaluate
from mimir.files import to_json
from tests.evaluation.evaluation_samples import (
    PATH,
    T0,
    leaky_scores,
    make_alerts,
    make_incident,
    make_metrics,
    make_scores,
    make_spec,
)

DOCUMENTED = {
    "event_recall", "delay_median_s", "delay_p90_s", "bytes_before_alert_median", "average_precision", "f1",
    "precision", "recall", "false_positive_rate", "false_alerts_per_day", "oracle_f1", "auroc", "precision_monthly",
}  # fmt: skip
DOCUMENTED_BY_CLASS = {
    "event_recall", "delay_median_s", "delay_p90_s", "bytes_before_alert_median", "path_top1", "incidents",
}  # fmt: skip
DOCUMENTED_INCIDENT = {
    "incident", "window_s", "path_class", "technique", "path", "start", "end", "bytes_delivered", "detected",
    "first_alert", "delay_s", "bytes_before_alert", "path_named", "path_correct",
}  # fmt: skip


def test_schema() -> None:
    scores = make_scores(leaky_scores())
    got = make_metrics(scores, [make_incident()], make_alerts(scores, PATH))
    assert set(got) == {
        "schema", "primary_window_s", "alerts_per_day", "confidence", "windows", "incidents", "curves", "cost",
        "benign_triggers",
    }  # fmt: skip
    part = got["windows"]["60"]
    assert set(part["overall"]) == set(MEASURES) >= DOCUMENTED
    assert set(part["by_class"]["allowed_chain"]) == {*MEASURES, "incidents"} >= DOCUMENTED_BY_CLASS
    assert all(set(m) == {"value", "low", "high", "reason"} for m in part["overall"].values())
    assert set(part["threshold"]) == {"value", "level", "method", "extrapolated", "calibration_windows", "note"}
    assert set(got["incidents"][0]) == {*DOCUMENTED_INCIDENT, "reason"}
    assert got["cost"] == {"windows_scored": 240, "edges": None}
    to_json(got)


def test_values_of_a_perfect_detector() -> None:
    scores = make_scores(leaky_scores())
    got = make_metrics(scores, [make_incident()], make_alerts(scores, PATH))
    part = got["windows"]["60"]
    ones = dict.fromkeys(("event_recall", "recall", "precision", "f1", "average_precision", "auroc", "path_top1"), 1.0)
    others = {"false_alerts_per_day": 0.0, "delay_median_s": 60.0, "bytes_before_alert_median": 60_000.0}
    expected = ones | others
    assert {k: part["overall"][k]["value"] for k in expected} == pytest.approx(expected)
    assert part["test"] == {
        "windows": 180, "hours": 3.0, "positive_windows": 10, "excluded_windows": 1, "prevalence": 10 / 179,
    }  # fmt: skip
    assert part["threshold"]["value"] == 3.0
    assert part["threshold"]["level"] == pytest.approx(6.94e-4, rel=1e-3)
    assert part["threshold"]["calibration_windows"] == 60
    assert got["incidents"][0]["path_correct"] is True
    assert got["curves"]["60"]["roc"] == [[0, 0], [0, 1], [1, 1]]


def test_an_alert_in_the_trailing_window_is_neither_a_false_alert_nor_a_true_one() -> None:
    got = make_metrics(make_scores(leaky_scores(0.0, {70: 9.0})), [make_incident()])
    overall = got["windows"]["60"]["overall"]
    assert overall["false_alerts_per_day"]["value"] == 0.0
    assert overall["recall"]["value"] == 0.0
    assert overall["event_recall"]["value"] == 1.0
    assert got["incidents"][0]["delay_s"] == 660.0


def test_no_point_adjustment() -> None:
    overall = make_metrics(make_scores(leaky_scores(0.0, {65: 9.0})), [make_incident()])["windows"]["60"]["overall"]
    assert overall["recall"]["value"] == pytest.approx(0.1)
    assert overall["event_recall"]["value"] == 1.0


def test_leak_off_gives_null_with_a_reason_and_false_alerts_stay() -> None:
    got = make_metrics(make_scores(leaky_scores(0.0, {5: 9.0})), [])
    overall = got["windows"]["60"]["overall"]
    for name in set(MEASURES) - {"false_positive_rate", "false_alerts_per_day"}:
        assert overall[name]["value"] is None, name
        assert overall[name]["reason"], name
    assert overall["false_alerts_per_day"]["value"] == pytest.approx(8.0)
    assert got["windows"]["60"]["by_class"] == {}
    assert got["incidents"] == []
    assert got["curves"]["60"] == {"roc": None, "precision_recall": None}


def test_without_a_ledger_nothing_is_claimed() -> None:
    part = make_metrics(make_scores(leaky_scores()), None)["windows"]["60"]
    assert all("no ledger" in m["reason"] for m in part["overall"].values())
    assert part["test"]["positive_windows"] is None


def test_classes_are_judged_apart_against_the_same_benign_windows() -> None:
    truth = [make_incident("chain"), make_incident("tunnel", start=T0 + 7200.0, path_class="dns")]
    scores = make_scores(leaky_scores(5.0, {3: 9.0}))
    part = make_metrics(scores, truth)["windows"]["60"]
    assert set(part["by_class"]) == {"allowed_chain", "dns"}
    assert part["by_class"]["allowed_chain"]["event_recall"]["value"] == 1.0
    assert part["by_class"]["dns"]["event_recall"]["value"] == 0.0
    assert part["overall"]["event_recall"]["value"] == 0.5
    assert part["by_class"]["dns"]["recall"]["value"] == 0.0
    rates = {part["by_class"][c]["false_positive_rate"]["value"] for c in part["by_class"]}
    assert rates == {part["overall"]["false_positive_rate"]["value"]}


def test_a_failed_leak_is_listed_but_not_counted() -> None:
    truth = [
        make_incident(),
        make_incident("dud", start=T0 + 7200.0, path_class="dns", bytes_delivered=0, delivered=[]),
    ]
    got = make_metrics(make_scores(leaky_scores()), truth)
    assert set(got["windows"]["60"]["by_class"]) == {"allowed_chain"}
    assert got["windows"]["60"]["overall"]["event_recall"]["value"] == 1.0
    assert [i["detected"] for i in got["incidents"]] == [True, None]


def test_false_alerts_during_benign_events_are_reported_apart_and_stay_false() -> None:
    event = make_incident("hpa", start=T0 + 7200.0, path_class="benign:scale_out", bytes_delivered=0, delivered=[])
    part = make_metrics(make_scores(leaky_scores(5.0, {121: 9.0})), [make_incident(), event])["windows"]["60"]
    assert part["triggers"]["scale_out"]["windows"] == 10
    assert part["triggers"]["scale_out"]["false_alerts"] == 1
    assert part["triggers"]["scale_out"]["false_positive_rate"]["value"] == 0.1
    assert part["overall"]["false_positive_rate"]["value"] == pytest.approx(1 / 169)
    assert set(part["by_class"]) == {"allowed_chain"}


def test_false_alerts_in_the_recovery_belong_to_the_trigger_that_ended_last() -> None:
    def event(kind: str, start: float, lasting: float) -> dict[str, Any]:
        return make_incident(kind, T0 + start, lasting, path_class=f"benign:{kind}", bytes_delivered=0, delivered=[])

    truth = [event("scale_out", 3600, 60), event("pod_kill", 3840, 60), make_incident("leak-1", T0 + 9000, 600)]
    #        during the first, its recovery, during the second, its recovery (also the first's), long after, in a leak's
    alerts = {60: 9.0, 62: 9.0, 64: 9.0, 66: 9.0, 90: 9.0}
    scores = make_scores([alerts.get(k, 9.0 if 150 <= k < 160 else 0.0) for k in range(180)])
    part = make_metrics(scores, truth, trigger_recovery_s=600)["windows"]["60"]
    first, second = part["triggers"]["scale_out"], part["triggers"]["pod_kill"]
    assert (first["windows"], first["false_alerts"], first["false_alerts_per_hour"]) == (1, 1, 60.0)
    assert (first["after"]["windows"], first["after"]["false_alerts"]) == (3, 1)
    assert (second["windows"], second["false_alerts"]) == (1, 1)
    assert (second["after"]["windows"], second["after"]["false_alerts"]) == (10, 1)
    assert (part["undisturbed"]["windows"], part["undisturbed"]["false_alerts"]) == (
        180 - 11 - 15,
        1,
    )  # the leak has a window of recovery
    short = make_metrics(scores, truth, trigger_recovery_s=0)["windows"]["60"]
    assert short["triggers"]["pod_kill"]["after"]["windows"] == 0
    assert short["triggers"]["pod_kill"]["after"]["false_positive_rate"]["reason"]
    assert short["undisturbed"]["false_alerts"] == 3


def test_window_lengths_stand_side_by_side_and_do_not_disturb_each_other() -> None:
    minute = make_scores(leaky_scores(5.0, {62: 0.0, 20: 9.0}))
    ten = make_scores(np.repeat(leaky_scores(), 6), window_s=10)
    both = make_metrics(pd.concat([ten, minute]), [make_incident()])
    alone = make_metrics(minute, [make_incident()])
    assert both["windows"]["60"] == alone["windows"]["60"]
    assert set(both["windows"]) == set(both["curves"]) == {"10", "60"}
    assert [(i["window_s"], i["delay_s"]) for i in both["incidents"]] == [(10, 10.0), (60, 60.0)]


def test_sizes_come_from_alerts_in_leaking_windows() -> None:
    scores = make_scores(leaky_scores(5.0, {3: 9.0}))
    alerts = make_alerts(scores, bytes_estimate=66_000.0, bytes_low=50_000.0, bytes_high=70_000.0)
    overall = make_metrics(scores, [make_incident()], alerts)["windows"]["60"]["overall"]
    assert overall["size_error_median"]["value"] == pytest.approx(0.1)
    assert overall["size_coverage"]["value"] == 1.0


def test_what_calibration_says_is_recorded() -> None:
    facts = {60: {"method": "tail", "extrapolated": True, "note": "60 windows", "shape": 0.1}}
    scores = make_scores(leaky_scores())
    got = evaluate(scores, make_alerts(scores), [], make_spec(), 60, (7, 3), facts, edges=12)
    threshold = got["windows"]["60"]["threshold"]
    assert (threshold["method"], threshold["extrapolated"], threshold["note"]) == ("tail", True, "60 windows")
    assert got["cost"]["edges"] == 12


def test_contradictions_between_files_are_errors() -> None:
    scores = make_scores(leaky_scores())
    alerts = make_alerts(scores)
    with pytest.raises(MimirError, match="disagree"):
        make_metrics(scores, [], alerts[1:])
    with pytest.raises(MimirError, match="scored twice"):
        make_metrics(pd.concat([scores, scores]), [])
    with pytest.raises(MimirError, match="not finite"):
        make_metrics(scores.assign(score=np.nan), [])
    with pytest.raises(MimirError, match="one threshold"):
        make_metrics(scores.assign(threshold=np.arange(len(scores))), [])
    with pytest.raises(MimirError, match="no window of 30 s"):
        evaluate(scores, alerts, [], make_spec(), 30, 7)


def test_windows_in_which_detectors_recover_are_neither_benign_nor_a_detection() -> None:
    scores = make_scores(leaky_scores(0.0, {72: 9.0, 90: 9.0}))
    strict, lenient = (make_metrics(scores, [make_incident()], recovery_s=s)["windows"]["60"] for s in (0, 300))
    assert [part["test"]["excluded_windows"] for part in (strict, lenient)] == [1, 5]
    rates = [part["overall"]["false_positive_rate"]["value"] for part in (strict, lenient)]
    assert rates == pytest.approx([2 / 169, 1 / 165])
    assert [part["overall"]["event_recall"]["value"] for part in (strict, lenient)] == [0.0, 0.0]
