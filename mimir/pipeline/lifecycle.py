"""Signals, and one process per run directory."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from filelock import FileLock, Timeout


@contextmanager
def interruptible() -> Iterator[None]:
    """SIGTERM behaves like Ctrl-C (KeyboardInterrupt), so that teardown runs. Only in the main thread."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt(f"signal {number}")

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def exclusive(run_directory: Path) -> Iterator[None]:
    """Hold a run directory: two processes never write the same one. The lock ends with the process; others wait."""
    lock_folder = run_directory.parent / ".locks"
    lock_folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(lock_folder / f"{run_directory.name}.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        print(f"waiting: another process is writing {run_directory}", file=sys.stderr)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


@contextmanager
def workers_of(count: int) -> Iterator[ProcessPoolExecutor]:
    """A pool of fresh processes that end with this one. When its block is left by an error or Ctrl-C, nothing that waits
    is begun any more, and what is under way is stopped: half-made results are left to the next run to clear."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(count, context, initializer=leave_with_parent, initargs=(os.getpid(),)) as pool:
        try:
            yield pool
        except BaseException:
            stop_workers(pool)
            raise


def stop_workers(pool: ProcessPoolExecutor) -> None:
    """Begin nothing that waits, and tell the processes to stop."""
    processes = list((pool._processes or {}).values())
    pool.shutdown(wait=False, cancel_futures=True)
    for process in processes:
        process.terminate()


def leave_with_parent(parent: int) -> None:
    """End this worker process when process `parent`, which started it, is gone, even if that was killed."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
