"""Signals, and one process per run directory."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
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


def leave_with_parent(parent: int) -> None:
    """End this worker process when process `parent`, which started it, is gone, even if that was killed."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
