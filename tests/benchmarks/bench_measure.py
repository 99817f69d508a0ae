"""Runs one piece of work in a process of its own and says what it cost. Standard library only.

The measuring process stays small on purpose: Linux counts the memory of the parent at the time of the fork into the
peak of a child.
"""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]


class BenchError(Exception):
    """A measured program failed; the text holds the command and its last line."""


@dataclass(frozen=True)
class Cost:
    """One process: seconds by the clock, processor seconds (user and system, children too), peak memory in MB."""

    wall_s: float
    cpu_s: float
    peak_mb: float  #: of the largest process of the tree
    answer: dict[str, Any] = field(default_factory=dict)  #: what a step of bench_steps printed


def run(command: Sequence[str], answers: bool = False, env: Mapping[str, str] | None = None) -> Cost:
    """Run to the end; output goes to /dev/null, or is read as JSON. Raises BenchError when the exit code is not 0.

    Python keeps its byte code even where the caller forbids that: without it a fresh process is measured compiling.
    """
    environment = {**os.environ, **(env or {})}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    began = time.perf_counter()
    with (
        tempfile.TemporaryFile() as complaints,
        subprocess.Popen(
            command,
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE if answers else subprocess.DEVNULL,
            stderr=complaints,
            env=environment,
        ) as process,
    ):
        said = process.stdout.read() if process.stdout else b""
        _, status, usage = os.wait4(process.pid, 0)
        wall_s = time.perf_counter() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            complaints.seek(0)
            last = complaints.read().decode(errors="replace").strip().splitlines()[-1:] or ["no message"]
            raise BenchError(f"exit code {process.returncode} from {' '.join(command)}: {last[0]}")
    answer = json.loads(said.splitlines()[-1]) if answers else {}
    return Cost(wall_s, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1e3, answer)


def step(name: str, *arguments: str | Path | int, env: Mapping[str, str] | None = None) -> Cost:
    """One step of bench_steps in a fresh interpreter."""
    command = [sys.executable, "-m", "tests.benchmarks.bench_steps", name, *map(str, arguments)]
    return run(command, answers=True, env=env)


def exponent(sizes: Sequence[float], seconds: Sequence[float]) -> float:
    """Slope of log seconds over log size by least squares: 1 is linear growth.

    >>> round(exponent([1, 2, 4], [3, 6, 12]), 3)
    1.0
    """
    x, y = [math.log(v) for v in sizes], [math.log(v) for v in seconds]
    mean_x, mean_y = sum(x) / len(x), sum(y) / len(y)
    above = sum((a - mean_x) * (b - mean_y) for a, b in zip(x, y, strict=True))
    return above / sum((a - mean_x) ** 2 for a in x)
