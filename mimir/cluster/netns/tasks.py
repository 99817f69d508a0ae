"""Tasks that run beside each other, and what went wrong in them."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Coroutine
from typing import Any

#: what a broken or refused connection raises
BROKEN = (ConnectionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, TimeoutError, OSError, ValueError)


class Tasks:
    """Keeps tasks alive until they end; an error nobody waits for is counted, and the first unexpected one is kept."""

    def __init__(self) -> None:
        self._running: set[asyncio.Task[Any]] = set()
        self.broken: Counter[str] = Counter()
        self.defect: BaseException | None = None

    def start(self, work: Coroutine[Any, Any, Any], name: str) -> asyncio.Task[Any]:
        """Run a coroutine beside the others."""
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._running.add(task)
        task.add_done_callback(self._ended)
        return task

    async def stop(self) -> None:
        """Cancel whatever still runs and wait for it."""
        running = list(self._running)
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._running.discard(task)
        if task.cancelled():
            return
        error = task.exception()
        if isinstance(error, BROKEN):
            self.broken[f"{task.get_name()}: {type(error).__name__}"] += 1
        elif error is not None and self.defect is None:
            self.defect = error
