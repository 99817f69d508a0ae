"""What users do as a table of steps that a loop can walk: repetitions unrolled, choices as jumps."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mimir.load.mixes import mix_of
from mimir.spec.app import AppSpec, RepeatSpec, StepSpec
from mimir.spec.load import LoadSpec


@dataclass(frozen=True)
class Programs:
    """Steps of all behaviours, one after the other (S rows); behaviour `b` is rows `first[b] … first[b + 1] - 1`.

    At step `i`, with probability `leave[i]` go on at `jump[i]` (a row, or the end of the behaviour); otherwise wait and
    request.
    """

    behaviours: tuple[str, ...]
    first: NDArray[np.int64]  # (B + 1,)
    wait_s: NDArray[np.float64]  # (S, 2) low, high
    request: NDArray[np.int64]  # (S,) number of the entry service's endpoint, in the order of its YAML
    leave: NDArray[np.float64]  # (S,)
    jump: NDArray[np.int64]  # (S,)

    def expected(self, behaviour: str) -> tuple[float, float]:
        """Expected waiting (s) and number of requests of one pass."""
        begin, end, done = self._done(behaviour)
        return float(done @ self.wait_s[begin:end].mean(axis=1)), float(done @ (self.request[begin:end] >= 0))

    def lasting_s(self, behaviour: str, response_s: NDArray[np.float64]) -> float:
        """Expected length (s) of one pass: waiting, and `response_s` for each request (by number of the endpoint)."""
        begin, end, done = self._done(behaviour)
        asked = self.request[begin:end]
        return self.expected(behaviour)[0] + float(done @ np.where(asked >= 0, response_s[asked], 0.0))

    def longest_s(self, response_s: NDArray[np.float64]) -> float:
        """No pass of any behaviour lasts longer (s)."""
        step_s = self.wait_s[:, 1] + np.where(self.request >= 0, response_s[self.request], 0.0)
        return float(np.add.reduceat(step_s, self.first[:-1]).max())

    def _done(self, behaviour: str) -> tuple[int, int, NDArray[np.float64]]:
        """First row, end, and for each row the probability that its step is done."""
        b = self.behaviours.index(behaviour)
        begin, end = int(self.first[b]), int(self.first[b + 1])
        reach, done = np.zeros(end - begin + 1), np.zeros(end - begin)
        reach[0] = 1.0
        for i in range(begin, end):
            done[i - begin] = reach[i - begin] * (1 - self.leave[i])
            reach[i - begin + 1] += done[i - begin]
            reach[self.jump[i] - begin] += reach[i - begin] * self.leave[i]
        return begin, end, done


def compile_behaviours(app: AppSpec) -> Programs:
    """Programs of a checked application's users.

    A repetition of [low, high] is unrolled `high` times; before pass k (counted from 0, k ≥ low) it is left with
    probability 1 / (high − k + 1), which makes every number of passes from low to high equally likely.
    """
    endpoints = {name: i for i, name in enumerate(app.services[app.users.entry].endpoints)}
    first = [0]
    rows: list[list[float]] = []
    for items in app.users.behaviours.values():
        for item in items:
            rows += (
                _repeat(item, len(rows), endpoints)
                if isinstance(item, RepeatSpec)
                else [_step(item, len(rows), endpoints)]
            )
        first.append(len(rows))
    table = np.array(rows, dtype=np.float64)
    return Programs(
        behaviours=tuple(app.users.behaviours),
        first=np.array(first),
        wait_s=table[:, 0:2].copy(),
        request=table[:, 2].astype(np.int64),
        leave=table[:, 3].copy(),
        jump=table[:, 4].astype(np.int64),
    )


def _step(step: StepSpec, row: int, endpoints: dict[str, int]) -> list[float]:
    return [*step.wait_s, endpoints[step.request], 1 - step.probability, row + 1]


def _repeat(item: RepeatSpec, row: int, endpoints: dict[str, int]) -> list[list[float]]:
    """A row of request -1 decides before each optional pass whether to leave; then the steps of the pass."""
    low, high = item.repeat
    end = row + high * len(item.steps) + (high - low)
    rows: list[list[float]] = []
    for k in range(high):
        if k >= low:
            rows.append([0, 0, -1, 1 / (high - k + 1), end])
        for step in item.steps:
            rows.append(_step(step, row + len(rows), endpoints))
    return rows


def request_rate(app: AppSpec, load: LoadSpec) -> float:
    """Requests per second of one user, response times left out."""
    programs, pause_s = compile_behaviours(app), float(np.mean(app.users.pause_s))
    passes = [(share, *programs.expected(name)) for name, share in mix_of(load, app).items() if share > 0]
    return sum(p * requests for p, _, requests in passes) / sum(p * (waiting_s + pause_s) for p, waiting_s, _ in passes)
