"""Paired tests between detectors."""

from pathlib import Path

import pytest
from scipy import stats

from mimir.report.compare import compare
from mimir.report.paired import paired_tests
from tests.report.test_compare import make_run

A = [0.9, 0.8, 0.85, 0.95, 0.7, 0.99, 0.6, 0.75]
B = [0.5, 0.45, 0.6, 0.62, 0.33, 0.98, 0.21, 0.3]
C = [0.5, 0.9, 0.6, 0.62, 0.33, 0.98, 0.21, 0.3]


def runs(root: Path, detector: str, values: list[float | None], rate: float = 1000) -> list[Path]:
    return [make_run(root, seed, detector, rate, event_recall=v) for seed, v in enumerate(values)]


def test_equals_scipy_with_holm(tmp_path: Path) -> None:
    made = compare([*runs(tmp_path, "a", A), *runs(tmp_path, "b", B), *runs(tmp_path, "c", C)])
    tests = {(t.first, t.second): t for t in paired_tests(made, "event_recall")}
    raw = {
        key: stats.wilcoxon(x, y).pvalue for key, x, y in ((("a", "b"), A, B), (("a", "c"), A, C), (("b", "c"), B, C))
    }
    first, second, third = sorted(raw, key=raw.get)
    assert tests[first].p_value == pytest.approx(3 * raw[first])
    assert tests[second].p_value == pytest.approx(max(3 * raw[first], 2 * raw[second]))
    assert tests[third].p_value == pytest.approx(max(tests[second].p_value, raw[third]))
    assert (tests["a", "b"].pairs, tests["a", "b"].better, tests["a", "b"].worse) == (8, 8, 0)
    assert tests["a", "b"].median_difference == pytest.approx(0.36)


def test_pairs_share_seed_and_setting(tmp_path: Path) -> None:
    mine = runs(tmp_path, "a", [0.9, 0.8], 10)
    made = compare([*mine, *runs(tmp_path, "b", [0.1, None, 0.3], 10), *runs(tmp_path, "b", [0.2], 99)])
    (test,) = paired_tests(made, "event_recall")
    assert (test.pairs, test.p_value) == (1, None)
    assert test.median_difference == pytest.approx(0.8)


def test_no_difference_is_no_evidence(tmp_path: Path) -> None:
    made = compare([*runs(tmp_path, "a", A), *runs(tmp_path, "b", A)])
    (test,) = paired_tests(made, "event_recall")
    assert (test.p_value, test.better, test.worse) == (1.0, 0, 0)


def test_one_detector_has_no_rival(tmp_path: Path) -> None:
    assert paired_tests(compare(runs(tmp_path, "a", A)), "event_recall") == []
    assert paired_tests(compare([]), "event_recall") == []


def test_the_outcome_is_printed_and_on_the_page(tmp_path: Path) -> None:
    made = compare([*runs(tmp_path, "a", A), *runs(tmp_path, "b", B)])
    line = "a against b: median difference 36 %, better in 8 and worse in 0 of 8 pairs, p = 0.0078"
    assert line in made.text()
    assert "Wilcoxon" in made.text()
    assert "better in 8 and worse in 0 of 8 pairs" in made.html()
    few = compare(runs(tmp_path / ".." / tmp_path.name, "c", A[:1]) + runs(tmp_path, "d", B[:1]))
    assert "p not given: fewer than 6 pairs" in few.text()


def test_many_detectors_make_a_matrix(tmp_path: Path) -> None:
    values = {"a": A, "b": B, "c": C, "d": A, "e": A[:1]}
    made = compare([run for name, scores in values.items() for run in runs(tmp_path, name, scores)])
    lines = [line.split() for line in made.text().splitlines()]
    start = next(n for n, line in enumerate(lines) if line == ["2", "3", "4", "5"])
    assert lines[start + 2] == ["1", "a", "8:0*", "7:1", "0:0", "0:0?"]  # p = 0.0078 × 6 pairs with enough runs
    assert lines[start + 6] == ["5", "e"]
    assert "better in" not in made.text()
    assert "<td>7:1</td>" in made.html()
