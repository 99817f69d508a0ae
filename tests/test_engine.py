"""Engines: the same results from any of them, in the order of the items; a missing package is named."""

from __future__ import annotations

import builtins
from typing import Any

import pytest

from mimir.engine import Engine, JoblibEngine, create_engine, engine_problems
from mimir.errors import RequirementError


def halved(number: int) -> float:
    if number < 0:
        raise ValueError(f"{number} is negative")
    return number / 2


@pytest.mark.parametrize("workers", [1, 2])
def test_joblib_keeps_the_order(workers: int) -> None:
    engine: Engine = JoblibEngine(workers)
    assert engine.map(halved, [4, 1, 2]) == [2.0, 0.5, 1.0]
    assert engine.map(halved, []) == []
    with pytest.raises(ValueError, match="-3 is negative"):
        engine.map(halved, [1, -3])


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
def test_dask_gives_the_same() -> None:
    pytest.importorskip("distributed")
    assert create_engine("dask", 2).map(halved, [4, 1, 2]) == [2.0, 0.5, 1.0]


def test_without_dask_the_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    known = builtins.__import__

    def without(name: str, *more: Any) -> Any:
        if name == "distributed":
            raise ImportError(name)
        return known(name, *more)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(RequirementError, match=r"pip install 'mimir\[dask\]'"):
        create_engine("dask", 2)


def test_an_unknown_engine_is_refused() -> None:
    with pytest.raises(ValueError, match="allowed: joblib, dask"):
        create_engine("spark", 2)


def test_a_run_with_dask_is_refused_where_it_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mimir.engine.find_spec", lambda name: None)
    (problem,) = engine_problems("dask")
    assert "pip install 'mimir[dask]'" in str(problem)
    assert engine_problems("joblib") == engine_problems("none") == []
