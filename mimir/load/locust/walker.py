"""One user's walk through a plan, and the pace all users share: the rules of `mimir.load.walk` in plain Python.

Locust's process runs this; it needs the standard library only.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterator
from itertools import accumulate
from random import Random
from typing import Any, NamedTuple

Plan = dict[str, Any]


class Step(NamedTuple):
    """Wait `wait_s`, then ask for `endpoint` (number). `begins` and `ends`: the first or last of a behaviour."""

    wait_s: float
    endpoint: int
    behaviour: int
    begins: bool
    ends: bool


class Pace:
    """Factor on all waits: a slow drift, minute by minute."""

    def __init__(self, plan: Plan):
        self._sigma, self._memory = plan["pace"]["sigma"], plan["pace"]["memory"]
        self._random, self._log = Random(f"pace {plan['seed']}"), [0.0]

    def at(self, offset_s: float) -> float:
        """The factor at seconds since the beginning."""
        while len(self._log) <= offset_s // 60 + 1:
            fresh = math.sqrt(1 - self._memory**2) * self._sigma * self._random.gauss(0, 1)
            self._log.append(self._memory * self._log[-1] + fresh)
        return math.exp(self._log[max(0, int(offset_s // 60)) + 1])


class Walker:
    """Walks behaviours of a plan for one user; every user has random numbers of their own."""

    def __init__(self, plan: Plan, number: int):
        self._plan, self._random = plan, Random(f"user {plan['seed']} {number}")
        self._cumulative = list(accumulate(plan["shares"]))

    def session(self, *, settled: bool = False) -> Iterator[Step]:
        """Steps of one behaviour; `settled`: from the middle of one, as users are when a recording begins."""
        begins, wait, skipped_s = not settled, self._plan["wait_s"], 0.0
        while True:
            behaviour, step = self._middle() if settled else self._fresh()
            if step is not None:
                break
            skipped_s += 0.0 if settled else max(1.0, self.pause_s())  # nothing to do: that costs the pause only
        wait_s = self._random.random() * max(wait[step][1], 1.0) if settled else self._random.uniform(*wait[step])
        wait_s += skipped_s
        while step is not None:
            following = self._seek(step + 1, self._plan["first"][behaviour + 1])
            yield Step(wait_s, self._plan["request"][step], behaviour, begins, following is None)
            begins, step = False, following
            if step is not None:
                wait_s = self._random.uniform(*wait[step])

    def pause_s(self) -> float:
        """How long the user pauses after a behaviour."""
        return float(self._random.uniform(*self._plan["pause_s"]))

    def within_s(self, most_s: float) -> float:
        """A moment within the tick in which the user arrives."""
        return self._random.random() * most_s

    def bytes_of(self, endpoint: int) -> int:
        """Request bytes of an endpoint."""
        median, sigma = self._plan["endpoints"][endpoint]["bytes"]
        return max(1, round(float(median) * math.exp(sigma * self._random.gauss(0, 1))))

    def noise(self, count: int) -> bytes:
        """Random bytes."""
        return self._random.randbytes(count)

    def values(self) -> dict[str, str]:
        """What a session knows for its whole length."""
        return {name: self._value(v["values"]) for name, v in self._plan["session"].items() if v["per"] == "session"}

    def path(self, endpoint: int, known: dict[str, str]) -> str:
        """The path of an endpoint with its `{…}` filled in: from the session, or drawn for this request."""
        path = str(self._plan["endpoints"][endpoint]["path"])
        for name, value in self._plan["session"].items():
            if f"{{{name}}}" in path:
                path = path.replace(f"{{{name}}}", known.get(name) or self._value(value["values"]))
        return path

    def _value(self, values: list[str]) -> str:
        return self._random.choice(values) if values else f"{self._random.getrandbits(64):016x}"

    def _choose(self, cumulative: list[float]) -> int:
        return min(bisect_right(cumulative, self._random.random() * cumulative[-1]), len(cumulative) - 1)

    def _fresh(self) -> tuple[int, int | None]:
        behaviour = self._choose(self._cumulative)
        first = self._plan["first"]
        return behaviour, self._seek(first[behaviour], first[behaviour + 1])

    def _middle(self) -> tuple[int, int | None]:
        """Behaviours weighted by the time they take, at any step."""
        behaviour, first = self._choose(occupied(self._plan)), self._plan["first"]
        begin, stop = first[behaviour], first[behaviour + 1]
        return behaviour, self._seek(self._random.randrange(begin, stop), stop)

    def _seek(self, step: int, stop: int) -> int | None:
        """The next step from `step` on that is really done."""
        plan = self._plan
        while step < stop:
            if plan["leave"][step] > 0 and self._random.random() < plan["leave"][step]:
                step = plan["jump"][step]
            elif plan["request"][step] < 0:
                step += 1
            else:
                return step
        return None


def occupied(plan: Plan) -> list[float]:
    """Cumulative time (s) users spend in each behaviour, pauses included, per behaviour started."""
    pause_s, found = sum(plan["pause_s"]) / 2, []
    for b, share in enumerate(plan["shares"]):
        begin, end = plan["first"][b], plan["first"][b + 1]
        reach, waiting_s = [1.0] + [0.0] * (end - begin), 0.0
        for i in range(begin, end):
            done = reach[i - begin] * (1 - plan["leave"][i])
            waiting_s += done * sum(plan["wait_s"][i]) / 2
            reach[i - begin + 1] += done
            reach[plan["jump"][i] - begin] += reach[i - begin] * plan["leave"][i]
        found.append(share * (waiting_s + pause_s))
    return list(accumulate(found))
