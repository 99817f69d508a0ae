"""What differs in the test recording only, named mixes, and series from files."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import TypeAdapter

from mimir.load.check import check_load
from mimir.load.mixes import mix_distance, mix_of
from mimir.load.profile import users_at
from mimir.load.series import SeriesError, read_series
from mimir.load.summary import load_plan
from mimir.pipeline.record_key import record_key
from mimir.pipeline.recordings import orders
from mimir.spec.app import AppSpec
from mimir.spec.build import to_dict
from mimir.spec.load import LoadSpec, with_series_digest
from mimir.spec.load import TestChangesSpec as Changes
from tests.cluster.simulated_samples import make_spec, option

APP = TypeAdapter(AppSpec).validate_python(option("app", "sockshop"))
UNCHANGED = Changes(users=None, sessions_per_min=None, mix=None)


def load(name: str = "normal", **changes: Any) -> LoadSpec:
    return replace(TypeAdapter(LoadSpec).validate_python(option("load", name)), **changes)


def keys(**changes: Any) -> list[str]:
    spec = make_spec({"load": changes})
    return [record_key(to_dict(spec), order) for order in orders(spec)]


def test_only_the_test_recording_is_different() -> None:
    changed = load(test=replace(UNCHANGED, users=160, mix="buy_only"))
    assert changed.of("fit") == changed.of("calibrate") == load()
    assert changed.of("test") == load(users=160, mix="buy_only")


def test_settings_of_triggers_do_not_matter_where_none_happens() -> None:
    settings = {"trigger_count": 3, "trigger_separate": False, "trigger_recordings": ["fit"]}
    assert keys(**settings) == keys()
    fit, calibrate, test = keys(triggers=["pod_kill"])
    assert [fit, calibrate] == keys()[:2]  # they happen in the test recording
    assert len({test, keys()[2], keys(triggers=["pod_kill"], trigger_count=2)[2]}) == 3
    assert keys(triggers=["pod_kill"], trigger_recordings=["fit"])[0] != fit


def test_triggers_keep_away_from_incidents_as_far_as_detectors_recover() -> None:
    def test_key(recovery_s: int, triggers: list[str]) -> str:
        spec = make_spec({"load": {"triggers": triggers}, "evaluation": {"recovery_s": recovery_s}})
        return record_key(to_dict(spec), orders(spec)[2])

    assert test_key(300, []) == test_key(600, [])
    assert test_key(300, ["pod_kill"]) != test_key(600, ["pod_kill"])


def test_fit_and_calibrate_are_shared_between_runs_that_test_something_else() -> None:
    usual, other = keys(), keys(test={"users": 40, "mix": "register_only"})
    assert usual[:2] == other[:2]
    assert usual[2] != other[2]
    assert keys(test={"users": 100, "mix": "training"}) == usual
    assert keys(test={"mix": {"browse": 0.5, "buy": 0.3, "register": 0.2}}) == usual
    assert keys(users=40)[0] != usual[0]


@pytest.mark.parametrize(
    ("name", "shares", "distance"),
    [("training", (0.5, 0.3, 0.2), 0.0), ("register_only", (0, 0, 1), 0.98995), ("buy_only", (0, 1, 0), 0.88318),
     ("no_browse", (0, 0.5, 0.5), 0.61644), ("browse_only", (1, 0, 0), 0.61644), ("less_browse", (0.4, 0.35, 0.25), 0.12247),
     ("no_buy", (0.5, 0, 0.5), 0.42426), ("less_buy", (0.55, 0.2, 0.25), 0.12247), ("less_register", (0.55, 0.35, 0.1), 0.12247)],
)  # fmt: skip
def test_the_nine_mixes_of_the_evaluation(name: str, shares: tuple[float, ...], distance: float) -> None:
    mix = mix_of(load(mix=name), APP)
    assert mix == dict(zip(("browse", "buy", "register"), shares, strict=True))
    assert mix_distance(APP.users.mix, mix) == pytest.approx(distance, abs=1e-5)
    plan = load_plan(load(test=replace(UNCHANGED, users=40, mix=name)), APP)
    assert plan["test"] == {"load_ratio": 0.4, "mix_distance": pytest.approx(distance, abs=1e-5)}


@pytest.mark.parametrize("app", ["sockshop", "wordpress", "hipsterstore"])
def test_one_sweep_over_mixes_serves_several_applications(app: str) -> None:
    wanted = option("experiment", "benchmark_mix")["hydra"]["sweeper"]["params"]["load.test.mix"].split(",")
    users = option("app", app)["users"]
    assert {*wanted} <= {*users["mixes"]}
    assert users["mixes"]["training"] == users["mix"]
    for name in wanted:
        assert sum(users["mixes"][name].values()) == pytest.approx(1)
        assert {*users["mixes"][name]} == {*users["mix"]}


@pytest.mark.parametrize(
    ("changes", "where", "text"),
    [
        ({"mix": "by_only"}, "load.mix", "did you mean 'buy_only'"),
        ({"test": replace(UNCHANGED, mix={"buy": 0.5})}, "load.test.mix", "add up to 1"),
        ({"test": replace(UNCHANGED, users=0)}, "load.test.users", "≥ 1"),
        ({"sessions_per_min": 10.0}, "load.sessions_per_min", "load.arrivals=open"),
        ({"arrivals": "open", "sessions_per_min": 10.0, "test": replace(UNCHANGED, users=4)}, "load.test.users", "no effect"),
        ({"users": None}, "load.users", "has no value"),
        ({"series_sha256": "00"}, "load.series_sha256", "no file"),
    ],
)  # fmt: skip
def test_mistakes_are_found(changes: dict[str, Any], where: str, text: str) -> None:
    found = [str(p) for p in check_load(load(**changes), APP)]
    assert any(line.startswith(where) and text in line for line in found), found


def test_a_step_is_held_until_shortly_before_the_next() -> None:
    step = load("step", day_s=3600)
    assert users_at(step, [0, 1780, 1795, 1800, 3580, 3600]).tolist() == [50, 50, 75, 100, 100, 50]


def test_the_weekend_is_lower_and_a_week_has_seven_days() -> None:
    at = users_at(load("weekly"), np.arange(8 * 24) * 150.0).reshape(8, 24).mean(axis=1)
    assert at[0] == at[4] == at[7]
    assert at[6] < at[5] < at[4]


def test_a_flash_crowd_comes_fast_and_goes_slowly() -> None:
    extra = users_at(load("flash_crowd"), np.arange(3600.0)) - users_at(load(), np.arange(3600.0))
    top = int(extra.argmax())
    assert extra[top] == pytest.approx(150, rel=0.02)
    assert top == pytest.approx(0.61 * 3600, abs=2)
    assert extra[top - 40] < 1
    assert extra[top + 180] == pytest.approx(150 / np.e, rel=0.02)


def write(folder: Path, text: str) -> str:
    path = folder / "series.csv"
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_a_series_is_replayed_and_begins_again(tmp_path: Path) -> None:
    file = write(tmp_path, "time_s,users\n10,20\n70,40\n130,0\n")
    replay = load("replay", series=file)
    assert check_load(replay, APP) == []
    assert users_at(replay, [0, 30, 60, 120, 180]).tolist() == [20, 30, 40, 0, 20]
    assert users_at(replace(replay, day_s=43_200), 30) == 40  # twice as fast
    assert users_at(replace(replay, users=80), 60) == 80


def test_rates_need_a_peak(tmp_path: Path) -> None:
    file = write(tmp_path, "time_s,rate\n0,7\n60,14\n")
    assert [p.where for p in check_load(load("replay", series=file), APP)] == ["load.users"]
    assert users_at(load("replay", series=file, users=100), [0, 60]).tolist() == [50, 100]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a,b\n0,1\n1,2\n", "line 1 must be"), ("time_s,users\n0,1\n0,2\n", "line 3"), ("time_s,users\n0,1\n1,-2\n", "negative"),
        ("time_s,users\n0,1\n1,x\n", "not two numbers"), ("time_s,users\n0,1\n1,nan\n", "not finite"),
        ("time_s,users\n0,1\n", "two or more"), ("", "header"),
    ],
)  # fmt: skip
def test_broken_series_are_refused(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(SeriesError, match=says):
        read_series(write(tmp_path, text))


def test_a_missing_series_is_named() -> None:
    found = [str(p) for p in check_load(load("replay", series="nowhere.csv"), APP)]
    assert "nowhere.csv" in found[0]


def test_another_content_is_another_experiment(tmp_path: Path) -> None:
    def digest(text: str) -> dict[str, Any]:
        return with_series_digest({"load": {**option("load", "replay"), "series": write(tmp_path, text)}})["load"]

    one, two = digest("time_s,users\n0,1\n60,2\n"), digest("time_s,users\n0,1\n60,3\n")
    assert one["series_sha256"] != two["series_sha256"]
    assert any(
        p.where == "load.series_sha256"
        for p in check_load(load("replay", **{k: one[k] for k in ("series", "series_sha256")}), APP)
    )
