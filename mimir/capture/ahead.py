"""Read ahead: the next batches are decoded on a thread of their own while the caller works on this one."""

from __future__ import annotations

import threading
from collections.abc import Generator, Iterable, Iterator
from queue import Empty, Full, Queue
from typing import TypeVar

T = TypeVar("T")
#: how often a reader that waits for room looks whether anybody still listens
LOOK_S = 0.05


def read_ahead(items: Iterable[T], room: int) -> Generator[T, None, None]:
    """The same items in the same order, at most `room` of them made in advance.

    Worth it where making them releases the interpreter lock, as kernels do. An exception of the source comes out where
    the item would have; when the caller stops early, the source is closed before this generator is.
    """
    queue: Queue[tuple[T] | BaseException | None] = Queue(room)
    over = threading.Event()

    def put(entry: tuple[T] | BaseException | None) -> None:
        while not over.is_set():
            try:
                return queue.put(entry, timeout=LOOK_S)
            except Full:
                continue

    def fill() -> None:
        source = iter(items)
        try:
            for item in source:
                put((item,))
                if over.is_set():
                    break
            put(None)
        except BaseException as error:  # handed to the caller, who raises it
            put(error)
        finally:
            close = getattr(source, "close", None)
            if close:
                close()

    thread = threading.Thread(target=fill, name="read-ahead", daemon=True)
    thread.start()
    try:
        yield from _taken(queue)
    finally:
        over.set()
        thread.join()


def _taken(queue: Queue[tuple[T] | BaseException | None]) -> Iterator[T]:
    while True:
        try:
            entry = queue.get(timeout=60)
        except Empty:
            continue
        if entry is None:
            return
        if isinstance(entry, BaseException):
            raise entry
        yield entry[0]
