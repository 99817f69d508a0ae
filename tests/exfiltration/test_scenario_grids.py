"""The grids of rates and pacings are specs that can be acted out."""

from __future__ import annotations

from pathlib import Path

import pytest

from mimir.cluster.check import workload_problems
from mimir.spec.build import from_plain
from mimir.spec.grid import expand
from mimir.spec.validate import validate

CONF = Path(__file__).resolve().parents[2] / "conf" / "experiment"
GRIDS = sorted(path.stem for path in CONF.glob("scenario_grid*.yaml"))
SIZES = {"scenario_grid": 40, "scenario_grid_relative": 15, "scenario_grid_slow": 8}


@pytest.mark.parametrize("grid", GRIDS)
def test_every_rate_of_a_grid_is_a_valid_spec(grid: str) -> None:
    for job in expand(grid, ["seed=1", "exfiltration.pacing=jitter"]).jobs:
        spec = from_plain(job)
        assert [*validate(spec), *workload_problems(spec)] == []


@pytest.mark.slow
@pytest.mark.parametrize("grid", GRIDS)
def test_every_job_of_a_grid_is_a_valid_spec(grid: str) -> None:
    jobs = expand(grid, ["seed=1"]).jobs
    assert len(jobs) == SIZES[grid]
    for job in jobs:
        spec = from_plain(job)
        assert [*validate(spec), *workload_problems(spec)] == []


def test_the_slow_grid_steals_4_kB_a_day() -> None:
    rates = {
        job["exfiltration"]["rate_bytes_per_min"]
        for job in expand("scenario_grid_slow", ["seed=1", "exfiltration.pacing=jitter"]).jobs
    }
    assert round(min(rates) * 24 * 60) == 4000
