"""Behaviours as tables of steps: repetitions, optional steps, expectations."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from pydantic import TypeAdapter

from mimir.load.behaviours import compile_behaviours, request_rate
from mimir.spec.app import AppSpec
from mimir.spec.load import LoadSpec
from tests.cluster.simulated_samples import option, toy_app


def toy(repeat: tuple[int, int], probability: float = 1.0) -> AppSpec:
    plain: dict[str, Any] = toy_app()
    step = {"wait_s": [1, 2], "request": "buy", "probability": probability}
    plain["users"]["behaviours"]["shop"][1] = {"repeat": list(repeat), "steps": [step]}
    return TypeAdapter(AppSpec).validate_python(plain)


def test_a_fixed_repetition_is_unrolled() -> None:
    programs = compile_behaviours(toy((3, 3)))
    assert programs.request.tolist() == [0, 1, 1, 1]
    assert programs.leave.tolist() == [0, 0, 0, 0]
    assert programs.expected("shop") == (pytest.approx(4.5), pytest.approx(4.0))


def test_every_number_of_repetitions_is_equally_likely() -> None:
    programs = compile_behaviours(toy((1, 3)))
    assert programs.request.tolist() == [0, 1, -1, 1, -1, 1]
    stay = 1 - programs.leave[[2, 4]]
    assert [1 - stay[0], stay[0] * (1 - stay[1]), stay[0] * stay[1]] == pytest.approx([1 / 3, 1 / 3, 1 / 3])
    assert programs.jump[[2, 4]].tolist() == [6, 6]
    assert programs.expected("shop") == (pytest.approx(3.0), pytest.approx(3.0))


def test_optional_steps_count_by_their_probability() -> None:
    waiting_s, requests = compile_behaviours(toy((2, 2), probability=0.25)).expected("shop")
    assert (waiting_s, requests) == (pytest.approx(0.75), pytest.approx(1.5))


def test_browsing_sock_shop_is_the_published_task() -> None:
    app = TypeAdapter(AppSpec).validate_python(option("app", "sockshop"))
    programs = compile_behaviours(app)
    names = list(app.services["front-end"].endpoints)
    begin, end = programs.first[:2]
    asked = [names[i] for i in programs.request[begin:end]]
    assert asked == ["index", "catalogue", *["category", "detail"] * 20]
    assert np.all(programs.wait_s[begin + 2 : end] == [2, 4])
    assert programs.expected("browse") == (pytest.approx(120), pytest.approx(42))


def test_request_rate_of_one_user() -> None:
    app = TypeAdapter(AppSpec).validate_python(option("app", "sockshop"))
    load = TypeAdapter(LoadSpec).validate_python(option("load", "normal") | {"mix": {"browse": 1.0}})
    assert request_rate(app, load) == pytest.approx(42 / 123)
