"""Worlds of the benchmark are worked on side by side, each in a process of its own."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from mimir.errors import MimirError
from mimir.pipeline.benchmark.execute import compute_all
from mimir.pipeline.benchmark.worlds import Job, World


def instead_of_a_world(world: World, cache: Path) -> tuple[list[Path], list[str], dict[str, float]]:
    seed = world.jobs[0].plain["seed"]
    if seed == 2:
        raise MimirError("refused")
    if seed == 4:
        os._exit(9)
    return [Path(str(seed)) / str(os.getpid())], [], {"recording": 1.0}


def noted(world: World, cache: Path) -> tuple[list[Path], list[str], dict[str, float]]:
    seed = world.jobs[0].plain["seed"]
    (cache / str(seed)).touch()
    if seed:
        time.sleep(60)
    return [], [], {}


@pytest.mark.slow
def test_interrupted_work_is_stopped_and_none_is_begun(tmp_path: Path) -> None:
    worlds = [World((Job("none", {"app": {"name": "app"}, "seed": seed}),), {}) for seed in range(5)]

    def say(line: str) -> None:
        raise KeyboardInterrupt  # as Ctrl-C would while the first result is told

    with pytest.raises(KeyboardInterrupt):
        compute_all(worlds, tmp_path, 1, say, noted)
    assert len(list(tmp_path.iterdir())) <= 2  # of five: the one that ended, and perhaps the one after it


@pytest.mark.slow
def test_more_worlds_than_a_worker_of_a_pool_used_to_take(tmp_path: Path) -> None:
    worlds = [World((Job("none", {"app": {"name": "app"}, "seed": seed}),), {}) for seed in range(7)]
    said: list[str] = []
    tables, failures, seconds = compute_all(worlds, tmp_path, 2, said.append, instead_of_a_world)
    assert [path.parent.name for path in tables] == ["0", "1", "3", "5", "6"]
    assert len({path.name for path in tables}) == 5  # processes
    assert [line.partition(": ")[2][:12] for line in failures] == ["refused", "its process "]
    assert seconds["recording"] == 5.0
    assert len([line for line in said if "of 7 worlds" in line]) == 7
