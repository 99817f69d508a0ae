"""What the user sees while a run works: bars on a terminal, plain lines elsewhere, nothing when quiet."""

from __future__ import annotations

import math
import sys
import time
from types import TracebackType
from typing import Self

from mimir.units import format_duration

PLAIN_EVERY_S = 10.0


class Progress:
    """Progress of one run, on standard error. `durations` (s) are null where the length of a recording is not known yet."""

    def __init__(self, verbosity: str, durations: dict[str, float | None]):
        self.quiet = verbosity == "quiet"
        self.durations = durations
        self.live = sys.stderr.isatty() and not self.quiet
        self.said: dict[str, float] = {}
        self.began = time.monotonic()

    def __enter__(self) -> Self:
        if self.live:
            from rich.console import Console
            from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
            from rich.progress import Progress as Bars

            self.bars = Bars(
                TextColumn("{task.description:>12}"), BarColumn(), TextColumn("{task.percentage:>3.0f} %"),
                TextColumn("{task.fields[packets]:>14,} packets"), TimeRemainingColumn(),
                console=Console(stderr=True), transient=True,
            )  # fmt: skip
            self.tasks = {n: self.bars.add_task(n, total=d, packets=0) for n, d in self.durations.items()}
            self.bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.live:
            self.bars.stop()

    def recording(self, name: str, seconds: float, packets: int) -> None:
        """`seconds` of the recording `name` are done (infinity: all of it, edges included), with `packets` so far."""
        total, done = self.durations[name], math.isinf(seconds)
        if self.live:
            completed = total if done else seconds
            self.bars.update(
                self.tasks[name], completed=completed, total=1.0 if done and not total else total, packets=packets
            )
            if done and not total:
                self.bars.update(self.tasks[name], completed=1.0)
            return
        now = time.monotonic()
        if not self.quiet and (done or now - self.said.get(name, self.began) >= PLAIN_EVERY_S):
            self.said[name] = now
            share = "done" if done else f"{seconds / total:.0%} of {format_duration(total)}" if total else "reading"
            self.say(f"recording {name}: {share}, {packets:,} packets")

    def say(self, text: str) -> None:
        """One line."""
        if self.quiet:
            return
        line = f"[{time.monotonic() - self.began:6.1f} s] {text}"
        if self.live:
            self.bars.console.print(line, highlight=False, markup=False)
        else:
            print(line, file=sys.stderr, flush=True)
