"""How many users a plan wants when, and what really happened: state that all users of Locust's process share.

Standard library only, as the walker.
"""

from __future__ import annotations

import csv
import json
import math
import time
from collections import Counter
from pathlib import Path
from random import Random
from typing import Any

from mimir.load.locust.walker import Pace, Plan


class Crowd:
    """The wanted population over time, the ledger of requests, and whether enough of them succeeded."""

    def __init__(self, plan: Plan, out: Path, failed_share: float):
        out.mkdir(parents=True, exist_ok=True)
        self.plan, self.out, self._failed_share = plan, out, failed_share
        self.pace, self._random = Pace(plan), Random(f"arrivals {plan['seed']}")
        self._series = plan["wanted"] if plan["arrivals"] == "closed" else plan["arrivals_per_s"]
        self.began, self.begun, self.arriving, self._seats = time.time(), 0, 0, list[int]()
        self.requests, self.failed, self._reasons = 0, 0, Counter[str]()
        self._files = [(out / name).open("w", newline="", encoding="utf-8") for name in ("requests.csv", "users.csv")]
        self._requests, self._users = (csv.writer(file) for file in self._files)
        self._requests.writerow(
            ["ts", "user", "behaviour", "endpoint", "begins", "ends", "wait_s", "response_s", "status", "error"]
        )
        self._users.writerow(["offset_s", "wanted", "present"])

    def start(self) -> None:
        """The load begins now."""
        self.began = time.time()

    @property
    def offset_s(self) -> float:
        """Seconds since the beginning."""
        return time.time() - self.began

    @property
    def over(self) -> bool:
        """Is the plan's time up?"""
        return bool(self.offset_s >= len(self._series) * self.plan["tick_s"])

    @property
    def wanted(self) -> int:
        """Users a closed population should have now."""
        return int(self._series[min(int(self.offset_s / self.plan["tick_s"]), len(self._series) - 1)])

    def arrivals(self) -> int:
        """Sessions of an open load that arrive in the tick that begins now (Poisson); at first those that are there."""
        if self.begun == 0 and not self.arriving:
            return self._poisson(self.plan["sessions_at_first"])
        rate = self._series[min(int(self.offset_s / self.plan["tick_s"]), len(self._series) - 1)]
        return self._poisson(rate * self.plan["tick_s"])

    def _poisson(self, mean: float) -> int:
        """Knuth (1969), in portions small enough for exp."""
        count = 0
        while mean > 0:
            part, level = min(mean, 500.0), self._random.random()
            mean -= part
            while level > math.exp(-part):
                count += 1
                level *= self._random.random()
        return count

    def begin(self) -> tuple[int, int]:
        """A user comes: their running number, and the lowest seat that is free."""
        self.begun += 1
        seat = next(i for i in range(len(self._seats) + 1) if i not in self._seats)
        self._seats.append(seat)
        return self.begun, seat

    def leave(self, seat: int) -> None:
        """A user goes."""
        self._seats.remove(seat)

    def note_users(self, wanted: int) -> None:
        """One line of users.csv."""
        self._users.writerow([f"{self.offset_s:.3f}", wanted, len(self._seats)])

    def note(self, row: list[Any], error: str) -> None:
        """One line of requests.csv; `error` is empty where the request succeeded."""
        self._requests.writerow([*row, error])
        self.requests += 1
        if error:
            self.failed += 1
            self._reasons[error] += 1

    def close(self) -> str:
        """Write the summary; why the load is no good, or nothing."""
        for file in self._files:
            file.close()
        share = self.failed / self.requests if self.requests else 1.0
        why = ""
        if not self.requests:
            why = "no request was made"
        elif share > self._failed_share:
            (reason, count), *_ = self._reasons.most_common(1)
            why = (
                f"{self.failed} of {self.requests} requests failed ({share:.1%}, allowed {self._failed_share:.1%}); "
                f"{count} of them: {reason}"
            )
        summary = {
            "requests": self.requests, "failed": self.failed, "failed_share": round(share, 6),
            "failed_share_allowed": self._failed_share, "users_begun": self.begun, "lasted_s": round(self.offset_s, 3),
            "reasons": dict(self._reasons.most_common(20)), "error": why or None,
        }  # fmt: skip
        (self.out / "summary.json").write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")
        return why
