"""What the queries of one pod to one domain could have carried since midnight."""

from __future__ import annotations

from mimir.detectors.dns_information.coders import HyperLogLog, Information
from mimir.detectors.dns_information.names import Query


class Account:
    """Queries of one pod and domain; `variant` is compression or hyperloglog."""

    def __init__(self, variant: str) -> None:
        self.variant, self.seen, self.last = variant, dict[str, int](), 0.0
        self.names, self.choices, self.times = Information(), Information(), Information()
        self.unique, self.length, self.queries = HyperLogLog(), 0, 0

    def add(self, query: Query, tick_s: float) -> None:
        """One more query, in time order."""
        self.queries += 1
        self.length += len(query.rest)
        if self.variant == "hyperloglog":
            self.unique.add(query.rest.encode())
            return
        new = query.rest not in self.seen
        number = self.seen.setdefault(query.rest, len(self.seen) + 1)
        if new:
            self.names.add(query.rest.encode() + b"\n")
        kind = int(query.kind) % 256 if query.kind.isdigit() else 0
        self.choices.add(bytes([0 if new else min(number, 255), kind]))
        self.times.add(bytes([min(int((query.ts - self.last) / tick_s), 255)] if self.queries > 1 else []))
        self.last = query.ts

    def bound(self) -> float:
        """Bytes."""
        if self.variant == "hyperloglog":
            return self.unique.count() * self.length / max(self.queries, 1)
        return self.names.size() + self.choices.size() + self.times.size()
