"""The pieces of work that are measured, each in a fresh interpreter; prints one line of JSON.

    python -m tests.benchmarks.bench_steps NAME FILE [REPEAT [WARM_FILE]]
    python -m tests.benchmarks.bench_steps write FILE PACKETS KIND GAP_NS PODS
    python -m tests.benchmarks.bench_steps render FOLDER SECONDS

NAME is read, plain, kernel, stage:1,10,60 (window lengths), stage-2:… (two workers) or a Python peer of bench_peers. With WARM_FILE the work is done on that once, not timed.
Imports are lazy so that the time of a fresh process is that of the work.
"""

from __future__ import annotations

import json
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

Answer = dict[str, Any]


def read(path: Path) -> Answer:
    """Decode every packet, do nothing with it."""
    from mimir.capture import open_capture

    return {"packets": sum(len(batch) for batch in open_capture(path))}


def kernel(path: Path) -> Answer:
    """Decode and follow connections; no file written."""
    from mimir.capture import open_capture
    from mimir.flows.connections import ConnectionTracker
    from mimir.flows.identity import Identity

    tracker, packets = ConnectionTracker(Identity(), 1, 300), 0
    for batch in open_capture(path):
        tracker.add(batch)
        packets += len(batch)
    return {"packets": packets, "rows": len(tracker.finish().cells)}


def plain(path: Path) -> Answer:
    """Decode, plain edges without connections."""
    from tests.benchmarks.bench_plain import plain as add_up

    return dict(add_up(path))


def stage(path: Path, windows_s: list[int], workers: int) -> Answer:
    """The whole stage: both views, all window lengths, written to Parquet."""
    from mimir.flows import build_edges

    with tempfile.TemporaryDirectory() as folder:
        report = build_edges([path], None, windows_s, "bench", 300, Path(folder) / "edges.parquet", workers=workers)
    return {"packets": report.capture.packets, "rows": report.rows}


def write(path: Path, packets: str, kind: str, gap_ns: str, pods: str) -> Answer:
    """A synthetic capture."""
    from tests.benchmarks.bench_traffic import write as write_capture

    write_capture(path, int(packets), kind, int(gap_ns), int(pods))
    return {"packets": int(packets), "bytes": path.stat().st_size}


def render(folder: Path, seconds: str) -> Answer:
    """A benign recording of Sock Shop on the simulated cluster, after a short one that is not timed."""
    from mimir.cluster.base import RecordingOrder
    from mimir.cluster.simulated import SimulatedCluster
    from tests.support.specs import spec

    composed = spec(["app=sockshop"])

    def record(name: str, duration_s: int) -> Answer:
        (folder / name).mkdir()
        order = RecordingOrder("fit", 1_767_225_600, duration_s, (1, 0), False, folder / name)
        with SimulatedCluster(composed) as running:
            recording = running.record(order, lambda done_s, packets: None)
        return {**recording.counts, "path": str(recording.captures[0]), "users": composed.load.users}

    record("warm", 60)
    return timed(lambda: record("timed", int(seconds)))


def work(name: str) -> Callable[[Path], Answer]:
    """The function behind a name."""
    kind, _, lengths = name.partition(":")
    if kind in ("stage", "stage-2"):
        windows_s = [int(text) for text in lengths.split(",")]
        return lambda path: stage(path, windows_s, 2 if kind == "stage-2" else 1)
    if name in ("read", "kernel", "plain"):
        return {"read": read, "kernel": kernel, "plain": plain}[name]
    from tests.benchmarks.bench_peers import PYTHON_WORK

    return lambda path: {"packets": PYTHON_WORK[name]()(path)}


def processor_s() -> float:
    """User and system time of this process and of its children that have ended."""
    usages = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def timed(job: Callable[[], Answer]) -> Answer:
    """What the job answers, with its seconds by the clock and of the processor."""
    wall, cpu = time.perf_counter(), processor_s()
    answer = job()
    return {**answer, "wall_s": time.perf_counter() - wall, "cpu_s": processor_s() - cpu}


def repeated(name: str, path: Path, repeat: int, warm: Path | None) -> Answer:
    """The same work several times; lists of seconds."""
    job = work(name)
    if warm:
        job(warm)
    runs = [timed(lambda: job(path)) for _ in range(repeat)]
    return {**runs[-1], "wall_s": [r["wall_s"] for r in runs], "cpu_s": [r["cpu_s"] for r in runs]}


def main(arguments: list[str]) -> None:
    """Do one step."""
    name, path, *rest = arguments
    if name == "write":
        answer = write(Path(path), *rest)
    elif name == "render":
        answer = render(Path(path), *rest)
    else:
        answer = repeated(name, Path(path), int(rest[0]) if rest else 1, Path(rest[1]) if len(rest) > 1 else None)
    print(json.dumps(answer))


if __name__ == "__main__":
    main(sys.argv[1:])
