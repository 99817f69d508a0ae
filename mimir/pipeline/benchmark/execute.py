"""Record every world and try every detector on it, in worker processes."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import BrokenExecutor, ProcessPoolExecutor, ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from pathlib import Path

from mimir.errors import MimirError
from mimir.pipeline.benchmark.worlds import World, record_world
from mimir.pipeline.lifecycle import stop_workers, workers_of

Made = tuple[list[Path], list[str], dict[str, float]]  # tables, what failed, seconds by kind
Work = Callable[[World, Path], Made]


def compute_all(
    worlds: Sequence[World], cache: Path, workers: int, say: Callable[[str], None], work: Work | None = None
) -> Made:
    """Tables of all worlds, what failed, and seconds spent recording and computing (sums over processes).

    Each world has a process of its own, `workers` at a time, so that no memory is carried from one to the next. On Ctrl-C
    those at work are stopped and no other is begun.
    """
    own = _Processes()
    with ThreadPoolExecutor(workers) as pool:
        try:
            return _collected(pool, own, worlds, cache, say, work or _world)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            own.stop()
            raise


@dataclass
class _Processes:
    """The processes that are at work, so that they can be stopped."""

    pools: set[ProcessPoolExecutor] = field(default_factory=set)
    stopped: bool = False
    lock: threading.Lock = field(default_factory=threading.Lock)

    def run(self, work: Work, world: World, cache: Path) -> Made:
        """In a process of its own."""
        # One process and one task: a pool with max_tasks_per_child waits forever in CPython 3.11 (gh-115634).
        with workers_of(1) as pool:
            with self.lock:
                if self.stopped:
                    raise MimirError("stopped")
                future = pool.submit(work, world, cache)  # starts the process
                self.pools.add(pool)
            try:
                return future.result()
            finally:
                with self.lock:
                    self.pools.discard(pool)

    def stop(self) -> None:
        """End all of them, and begin no other."""
        with self.lock:
            self.stopped = True
            for pool in self.pools:
                stop_workers(pool)


def _collected(
    pool: ThreadPoolExecutor,
    own: _Processes,
    worlds: Sequence[World],
    cache: Path,
    say: Callable[[str], None],
    work: Work,
) -> Made:
    tables: dict[int, list[Path]] = {}
    failures: list[str] = []
    seconds = {"recording": 0.0, "arithmetic": 0.0}
    waiting = {pool.submit(own.run, work, world, cache): number for number, world in enumerate(worlds)}
    for done, future in enumerate(as_completed(waiting), 1):
        number = waiting[future]
        try:
            made, wrong, spent = future.result()
        except MimirError as error:
            made, wrong, spent = [], [f"{worlds[number].name}: {error}"], {}
        except BrokenExecutor:
            made, wrong, spent = [], [f"{worlds[number].name}: its process died (out of memory?)"], {}
        tables[number] = made
        failures += wrong
        seconds = {name: round(total + spent.get(name, 0.0), 1) for name, total in seconds.items()}
        say(f"{done} of {len(worlds)} worlds: {worlds[number].name}")
        for line in wrong:
            say(f"  failed: {line}")
    return [path for number in sorted(tables) for path in tables[number]], sorted(failures), seconds


def _world(world: World, cache: Path) -> Made:
    from mimir.pipeline.benchmark.arithmetic import TABLE, Loaded, results_of
    from mimir.spec.build import from_plain

    os.environ.setdefault("OMP_NUM_THREADS", "1")
    began = time.perf_counter()
    named, tests = record_world(world, cache, lambda name, seconds, packets: None)
    recorded_s = time.perf_counter() - began
    loaded = Loaded(from_plain(world.jobs[0].plain), named | {f"test {i}": one for i, one in enumerate(tests)})
    made, failures = [], []
    for name in world.detectors:
        try:
            made.append(results_of(world, name, loaded, cache).folder / TABLE)
        except MimirError as error:
            failures.append(f"{name} on {world.name}: {error}")
    return made, failures, {"recording": recorded_s, "arithmetic": time.perf_counter() - began - recorded_s}
