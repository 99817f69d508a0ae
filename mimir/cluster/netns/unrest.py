"""When pods came and went: a request that fails meanwhile, or shortly after, is what the change costs, and no defect of the testbed."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

SETTLED_S = 2.0  # after a change, until clients have heard of it


class Unrest:
    """Spans of time in which pods changed."""

    def __init__(self) -> None:
        self._spans: list[list[float]] = []  # begin, end: UTC epoch s; infinite while it lasts

    @contextmanager
    def change(self) -> Iterator[None]:
        """Pods change until the block is left."""
        span = [time.time(), float("inf")]
        self._spans.append(span)
        try:
            yield
        finally:
            span[1] = time.time()

    def excuses(self, begin_s: float, end_s: float) -> bool:
        """Did a request that began and failed at these times (UTC epoch s) meet a change?

        >>> calm = Unrest()
        >>> with calm.change():
        ...     calm.excuses(time.time() - 1, time.time())
        True
        >>> calm.excuses(0, 1), calm.excuses(time.time() + 3, time.time() + 4)
        (False, False)
        """
        return any(begin_s <= last + SETTLED_S and end_s >= first for first, last in self._spans)
