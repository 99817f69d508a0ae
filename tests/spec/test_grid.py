"""A benchmark's grid is the sweep that `run.py -m experiment=…` would make."""

from __future__ import annotations

from pathlib import Path

import pytest

from mimir.errors import SpecError
from mimir.spec.build import from_plain
from mimir.spec.grid import expand

EXPERIMENTS = sorted(p.stem for p in Path(__file__).resolve().parents[2].glob("conf/experiment/benchmark_*.yaml"))


def test_sweep_of_the_file_is_expanded_with_seeds_innermost() -> None:
    grid = expand("benchmark_quick", ["detector=allowlist,invariants", "seed=4,5"])
    assert [(job["exfiltration"]["name"], job["seed"]) for job in grid.jobs] == [
        ("relay_chain", 4), ("relay_chain", 5), ("direct", 4), ("direct", 5),
    ]  # fmt: skip
    assert list(grid.detectors) == ["allowlist", "invariants"]
    assert grid.detectors["invariants"]["name"] == "invariants"
    assert {job["evaluation"]["test_s"] for job in grid.jobs} == {7200}


def test_overrides_win_and_values_keep_their_type() -> None:
    grid = expand(
        "benchmark_quick",
        ["exfiltration=direct", "seed=range(1,3)", "load.users=5", "exfiltration.rates_bytes_per_min=null"],
    )
    assert [job["seed"] for job in grid.jobs] == [1, 2]
    assert {job["load"]["users"] for job in grid.jobs} == {5}
    assert all(job["exfiltration"]["rates_bytes_per_min"] is None for job in grid.jobs)


def test_globs_take_the_options_of_a_group() -> None:
    grid = expand("benchmark_quick", ["seed=1", "exfiltration=direct", "detector=glob(*,exclude=[pyod])"])
    assert {"allowlist", "invariants", "random"} <= set(grid.detectors)
    assert "pyod" not in grid.detectors


@pytest.mark.parametrize("words", [["app=nowhere"], ["load.nothing=1"]])
def test_what_cannot_be_composed_is_refused(words: list[str]) -> None:
    with pytest.raises(SpecError):
        expand("benchmark_quick", words)


@pytest.mark.slow
@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_every_benchmark_is_a_valid_spec(experiment: str) -> None:
    for job in expand(experiment, ["seed=1"]).jobs:
        from_plain(job)
