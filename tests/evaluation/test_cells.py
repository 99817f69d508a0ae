"""One cell of a benchmark agrees with metrics.json, and tells rates of one recording apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from mimir.evaluation import evaluate
from mimir.evaluation.cells import Cell, judge, rate_of
from mimir.evaluation.truth import split_ledger
from tests.evaluation.evaluation_samples import PATH, T0, make_alerts, make_incident, make_scores, make_spec

WINDOWS = 180


def cell(score: Sequence[float], incidents: Sequence[dict[str, Any]], recovery_s: int = 0) -> Cell:
    leaks, events = split_ledger(incidents)
    start = T0 + 60 * np.arange(len(score), dtype=np.int64)
    return Cell(60, start, np.asarray(score, dtype=float), leaks, events, recovery_s, 600.0, 300)


def rows_of(
    score: Sequence[float],
    incidents: Sequence[dict[str, Any]],
    told: Mapping[str, Any] | None = None,
    recovery_s: int = 0,
) -> dict[tuple[str, str, float], float]:
    """(measure, incident, rate) → value at a threshold of 3."""
    one = cell(score, incidents, recovery_s)

    def explain(positions: NDArray[np.int64]) -> list[dict[str, Any]]:
        base: dict[str, Any] = {
            "reasons": [],
            "path": [],
            "bytes_estimate": None,
            "bytes_low": None,
            "bytes_high": None,
        }
        return [base | {"ts": int(one.start[i]), **(told or {})} for i in positions]

    rows = judge(one, {1.0: 3.0}, 1.0, explain)
    return {
        (r["measure"], r["incident"], r["rate_bytes_per_min"]): r["value"] for r in rows if r["path_class"] != ""
    } | {(r["measure"], "", 0.0): r["value"] for r in rows if r["path_class"] == ""}


def noisy(seed: int = 3) -> NDArray[np.float64]:
    score = np.random.default_rng(seed).normal(0, 1.3, WINDOWS)
    score[61:69] += 4
    return score


def test_measures_equal_those_of_a_run() -> None:
    score, incident = noisy(), make_incident()
    table = make_scores(score.tolist())
    expected = evaluate(table, make_alerts(table, PATH), [incident], make_spec(), 60, 1)["windows"]["60"]["overall"]
    found = rows_of(score.tolist(), [incident])
    for name in ("average_precision", "auroc", "partial_auroc", "oracle_f1", "f1", "recall", "precision"):
        assert found[name, "", 60_000.0] == pytest.approx(expected[name]["value"]), name
    assert found["detected", "leak-1", 60_000.0] == expected["event_recall"]["value"]
    assert found["delay_s", "leak-1", 60_000.0] == expected["delay_median_s"]["value"]
    assert found["bytes_before_alert", "leak-1", 60_000.0] == expected["bytes_before_alert_median"]["value"]
    alerts, days = found["false_alerts", "", 0.0], found["benign_days", "", 0.0]
    assert alerts / days == pytest.approx(expected["false_alerts_per_day"]["value"])


def test_incidents_of_another_rate_are_neither_benign_nor_leaking() -> None:
    fast, slow = make_incident("fast"), make_incident("slow", start=T0 + 7200.0)
    slow |= {
        "bytes_intended": 6000,
        "bytes_delivered": 6000,
        "delivered": [[s, b // 100] for s, b in slow["delivered"]],
    }
    score = np.zeros(WINDOWS)
    score[60:70] = 9  # the fast one only
    found = rows_of(score.tolist(), [fast, slow])
    assert found["f1", "", 60_000.0] == found["average_precision", "", 60_000.0] == 1.0
    assert found["f1", "", 600.0] == 0.0
    assert found["detected", "fast", 60_000.0] == 1.0
    assert found["detected", "slow", 600.0] == 0.0
    assert ("delay_s", "slow", 600.0) not in found
    assert found["false_alerts", "", 0.0] == 0


def test_time_after_an_incident_counts_for_nothing() -> None:
    score = np.zeros(WINDOWS)
    score[72] = 9  # two minutes after the end
    without, with_recovery = (rows_of(score.tolist(), [make_incident()], recovery_s=r) for r in (0, 600))
    assert without["false_alerts", "", 0.0] == 1
    assert with_recovery["false_alerts", "", 0.0] == 0
    assert with_recovery["benign_days", "", 0.0] == pytest.approx(
        without["benign_days", "", 0.0] - 10 / 1440, abs=2 / 1440
    )


def test_claims_are_compared_with_the_ledger() -> None:
    score = np.zeros(WINDOWS)
    score[60:70] = 9
    right = {"path": PATH, "bytes_estimate": 66_000, "bytes_low": 50_000, "bytes_high": 70_000}
    found = rows_of(score.tolist(), [make_incident()], right)
    key = ("leak-1", 60_000.0)
    assert found[("path_top1", *key)] == found[("path_named", *key)] == found[("size_covered", *key)] == 1
    assert found[("size_relative_error", *key)] == pytest.approx(0.1)
    wrong = rows_of(
        score.tolist(), [make_incident()], {"path": ["user-db", "outside"], "bytes_low": 1, "bytes_high": 2}
    )
    assert wrong[("path_top1", *key)] == wrong[("size_covered", *key)] == 0


def test_alerts_during_a_trigger_are_counted_by_its_kind() -> None:
    trigger = make_incident("scale", path_class="benign:scale_out", path=["user"], pods=[""])
    score = np.zeros(WINDOWS)
    score[65] = score[100] = 9
    found = rows_of(score.tolist(), [trigger])
    assert found["false_alerts", "", 0.0] == 2
    counts = [value for (measure, _, _), value in found.items() if measure == "trigger_false_alerts"]
    assert counts == [1]


def test_constant_scores_have_no_rank() -> None:
    found = rows_of([0.0] * WINDOWS, [make_incident()])
    assert not [key for key in found if key[0] == "average_precision"]
    assert found["recall", "", 60_000.0] == 0


def test_rate_is_what_was_intended() -> None:
    leak = split_ledger([make_incident(bytes_delivered=599_000, delivered=[])])[0][0]
    assert rate_of(leak, 600.0) == 60_000
