"""evaluation.expect: sense before the run, truth after it."""

import pytest

from mimir.evaluation import check_expectations, expectation_problems
from tests.evaluation.evaluation_samples import leaky_scores, make_incident, make_metrics, make_scores


@pytest.fixture(scope="module")
def metrics() -> dict:
    return make_metrics(make_scores(leaky_scores(5.0, {3: 9.0})), [make_incident()])


GOOD = {
    "event_recall": ">=0.95",
    "false_alerts_per_day": "<= 10",
    "by_class.allowed_chain.event_recall": ">= 0.9",
    "w60.by_class.allowed_chain.recall": "==1",
    "w60.delay_median_s": "< 1e2",
    "f1": ">.5",
}


def test_met(metrics: dict) -> None:
    assert expectation_problems(GOOD, [10, 60]) == []
    assert check_expectations(GOOD, metrics) == []


def test_missed_says_what_was_got_and_what_was_wanted(metrics: dict) -> None:
    misses = check_expectations({"false_alerts_per_day": "<=2", "event_recall": ">=0.9"}, metrics)
    assert [m.where for m in misses] == ["evaluation.expect.false_alerts_per_day"]
    assert "got 8.5" in str(misses[0])
    assert "<= 2" in str(misses[0])


def test_an_undefined_measure_misses_its_expectation(metrics: dict) -> None:
    assert "no paths" in str(check_expectations({"path_top1": ">=0"}, metrics)[0])
    assert "no incident of class dns" in str(check_expectations({"by_class.dns.recall": ">=0"}, metrics)[0])


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("event_recal", "did you mean event_recall"),
        ("by_class.allowed_chain.event_recal", "did you mean by_class.allowed_chain.event_recall"),
        ("by_class.alowed_chain.f1", "did you mean by_class.allowed_chain.f1"),
        ("w30.f1", "did you mean w60.f1"),
        ("zzz", "conf/evaluation"),
    ],
)
def test_unknown_names(name: str, hint: str, metrics: dict) -> None:
    (problem,) = expectation_problems({name: ">=1"}, [60])
    assert hint in str(problem)
    assert "is not a measure" in str(problem)
    assert check_expectations({name: ">=1"}, metrics)[0].what == "is not a measure"


@pytest.mark.parametrize("condition", ["0.9", ">=", "=> 0.9", ">= high", "", ">=0.9 <1", ">=nan"])
def test_unreadable_conditions(condition: str) -> None:
    (problem,) = expectation_problems({"f1": condition}, [60])
    assert repr(condition) in str(problem)
    assert ">=0.95" in problem.allowed


def test_all_problems_at_once() -> None:
    assert len(expectation_problems({"f1": "?", "f2": ">1", "recall": ">0"}, [60])) == 2
