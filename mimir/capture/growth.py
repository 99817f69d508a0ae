"""Waiting for files that are still being written."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass
class Growth:
    """Says whether a reader at the end of a file should look again."""

    stop: Callable[[], bool] | None  #: asked before each look; after it said yes, one last look is taken
    timeout_s: float | None  #: silence after which the file is taken to be complete
    poll_s: float = 0.05
    _grown_s: float = field(default_factory=time.monotonic)

    def over(self) -> bool:
        """Is the next look the last one?"""
        if self.stop is not None and self.stop():
            return True
        return self.timeout_s is not None and time.monotonic() - self._grown_s >= self.timeout_s

    def looked(self, found_bytes: int) -> None:
        """Note what a look found; after an empty one, wait a little."""
        if found_bytes:
            self._grown_s = time.monotonic()
        else:
            time.sleep(self.poll_s)
