"""Day profiles: the published step values, interpolation, and mistakes in a load."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from pydantic import TypeAdapter

from mimir.load.check import check_load
from mimir.load.mixes import mix_of
from mimir.load.profile import users_at
from mimir.spec.app import AppSpec
from mimir.spec.load import LoadSpec
from tests.cluster.simulated_samples import CONF, option


def load(name: str) -> LoadSpec:
    return TypeAdapter(LoadSpec).validate_python(option("load", name))


def app() -> AppSpec:
    return TypeAdapter(AppSpec).validate_python(option("app", "sockshop"))


@pytest.mark.parametrize("name", sorted(path.stem for path in (CONF / "load").glob("*.yaml")))
def test_shipped_loads_are_possible(name: str) -> None:
    assert load(name).name == name
    found = check_load(load(name), app())
    assert [p.where for p in found] == (["load.series"] if name == "replay" else [])


def test_the_normal_day_is_the_published_sine() -> None:
    wave = 1.1 - 0.5 * np.sin(np.pi * np.arange(24) / 12)
    assert np.abs(np.array(load("normal").profile) - 100 * wave / wave.max()).max() < 0.51


def test_steps_are_met_and_between_them_it_is_linear() -> None:
    normal = replace(load("normal"), users=200, day_s=2400)
    assert users_at(normal, np.arange(24) * 100).tolist() == [2 * p for p in normal.profile]
    assert users_at(normal, 50) == pytest.approx(69 + 61)
    assert users_at(normal, 2350) == pytest.approx(77 + 69)
    assert users_at(normal, 2400 * 3 + 50) == users_at(normal, 50)


def test_the_mix_of_the_load_wins() -> None:
    assert mix_of(load("normal"), app()) == {"browse": 0.5, "buy": 0.3, "register": 0.2}
    assert mix_of(replace(load("normal"), mix={"buy": 1.0}), app()) == {"buy": 1.0}


@pytest.mark.parametrize(
    ("changes", "where", "text"),
    [
        ({"users": 0}, "load.users", "≥ 1"),
        ({"day_s": 0}, "load.day_s", "≥ 1"),
        ({"profile": []}, "load.profile", "percentages"),
        ({"profile": [-1.0] * 24}, "load.profile", "≥ 0"),
        ({"pace_sigma": -0.1}, "load.pace_sigma", "≥ 0"),
        ({"pace_memory": 1.0}, "load.pace_memory", "below 1"),
        ({"mix": {"brwose": 1.0}}, "load.mix", "did you mean 'browse'?"),
        ({"mix": {"browse": 0.5}}, "load.mix", "add up to 1"),
    ],
)
def test_mistakes_are_found(changes: dict[str, object], where: str, text: str) -> None:
    found = [str(p) for p in check_load(replace(load("normal"), **changes), app())]  # type: ignore[arg-type]
    assert any(line.startswith(where) and text in line for line in found), found
