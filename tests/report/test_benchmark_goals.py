"""Every goal of the flagship is met by a table that meets it, and missed when the numbers behind it get worse."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

from mimir.report.benchmark.goals import GOALS, goals

HEAD = {
    "experiment": "benchmark_rates", "app": "sockshop", "exfiltration": "relay_chain", "pacing": "jitter", "sigmas": 0.0,
    "seed": 1, "users": 20.0, "test_users": 20.0, "mix_distance": 0.0, "triggers": "", "detector": "invariants", "window_s": 60,
    "budget": 1.0, "rate_bytes_per_min": np.nan, "path_class": "", "incident": "",
}  # fmt: skip


def leak(rate: float, path_class: str, **changes: Any) -> list[dict[str, Any]]:
    """All measures of one incident that is found at once."""
    values = {"detected": 1.0, "delay_s": 60.0, "bytes_before_alert": 1000.0, "f1": 0.99, "path_top1": 1.0,
              "size_relative_error": 0.05, "size_covered": 1.0}  # fmt: skip
    of = HEAD | {"rate_bytes_per_min": rate, "path_class": path_class, "incident": f"{rate:g}"} | changes
    return [of | {"measure": name, "value": value} for name, value in values.items()]


def quiet(days: float, **changes: Any) -> list[dict[str, Any]]:
    """Benign time with one false alert a day."""
    return [HEAD | changes | {"measure": name, "value": days} for name in ("false_alerts", "benign_days")]


@pytest.fixture(scope="module")
def good() -> pd.DataFrame:
    rows: list[dict[str, Any]] = []
    for app in ("sockshop", "hipsterstore"):
        for rate in (1e5, 1e4):
            rows += leak(rate, "allowed_chain", app=app)
        rows += quiet(2.0, app=app) + quiet(4.0, app=app, experiment="benchmark_benign")
        for budget in (1.0, 1 / 7):
            rows += leak(30.0, "dns", app=app, experiment="benchmark_dns", budget=budget)
        for ratio in (0.4, 1.0, 1.6):
            of = {"app": app, "experiment": "benchmark_load", "test_users": 20.0 * ratio}
            rows += leak(1e5, "allowed_chain", **of) + quiet(1.0, **of)
        for distance in (0.0, 0.7):
            of = {"app": app, "experiment": "benchmark_mix", "mix_distance": distance}
            rows += leak(1e5, "allowed_chain", **of) + quiet(1.0, **of)
    for kind in ("scale_out", "rolling_update"):
        for row in quiet(1.0, experiment="benchmark_triggers", triggers=kind, path_class=f"benign:{kind}"):
            rows.append(row | {"measure": "trigger_" + row["measure"].removeprefix("benign_")})
    return pd.DataFrame(rows)


def verdicts(table: pd.DataFrame) -> list[str]:
    (text,) = goals(table)
    return [line.rsplit("|", 2)[1].strip(" *") for line in text.splitlines() if line.startswith("| ")][2:]


def test_all_goals_are_met_by_a_good_table(good: pd.DataFrame) -> None:
    assert verdicts(good) == ["met"] * len(GOALS)


def test_nothing_is_judged_that_was_not_measured(good: pd.DataFrame) -> None:
    found = verdicts(good[good["experiment"] == "benchmark_rates"])
    assert found.count("not measured") == 8
    assert set(found) == {"met", "not measured"}


def _of(experiment: str, measure: str, **where: Any) -> Callable[[pd.DataFrame], pd.Series]:
    def mask(table: pd.DataFrame) -> pd.Series:
        chosen = (table["experiment"] == f"benchmark_{experiment}") & (table["measure"] == measure)
        for column, value in where.items():
            chosen &= np.isclose(table[column], value) if isinstance(value, float) else table[column] == value
        return chosen

    return mask


WORSE = (
    (_of("rates", "detected", rate_bytes_per_min=1e4), 0.0),
    (_of("rates", "false_alerts", app="hipsterstore"), 9.0),
    (_of("rates", "bytes_before_alert", rate_bytes_per_min=1e4), 2e5),
    (_of("rates", "f1", rate_bytes_per_min=1e5), 0.5),
    (_of("dns", "delay_s", budget=1.0), 3700.0),
    (_of("dns", "bytes_before_alert", budget=1 / 7), 5000.0),
    (_of("load", "f1", test_users=8.0), 0.9),
    (_of("load", "false_alerts", test_users=32.0), 4.0),
    (_of("mix", "f1", mix_distance=0.7), 0.9),
    (_of("mix", "false_alerts", app="sockshop"), 4.0),
    (_of("triggers", "trigger_false_alerts", triggers="rolling_update"), 4.0),
    (_of("rates", "path_top1", rate_bytes_per_min=1e5), 0.0),
    (lambda table: table["measure"] == "size_relative_error", 4.0),  # a median over all of them
    (_of("rates", "size_covered", rate_bytes_per_min=1e5), 0.0),
    (_of("benign", "false_alerts", app="sockshop"), 1.0),
)  # fmt: skip


@pytest.mark.parametrize("number", range(len(WORSE)))
def test_each_goal_is_missed_when_its_numbers_get_worse(good: pd.DataFrame, number: int) -> None:
    assert len(WORSE) == len(GOALS)
    mask, value = WORSE[number]
    found = verdicts(good.assign(value=good["value"].mask(mask(good), value)))
    assert found[number] == "missed"
    assert found.count("missed") == 1
