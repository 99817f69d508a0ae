"""One incident over several branches at once: one store and several relays, or several stores and one relay."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import islice

import numpy as np

from mimir.cluster.simulated.layout import Layout
from mimir.cluster.simulated.relay import Relay
from mimir.exfiltration.paths import OUTSIDE
from mimir.exfiltration.plan import Incident, stolen_bytes

#: incident of a branch, the data of its messages, pods chosen by number → the act
MakeRelay = Callable[[Incident, Iterator[bytes], dict[str, int], np.random.SeedSequence], Relay]


class Fan:
    """Messages take the branches in turn. The ledger's path names every service once a pod of it, store first."""

    def __init__(self, layout: Layout, incident: Incident, kind: str, make: MakeRelay, seed: np.random.SeedSequence):
        own, *seeds = seed.spawn(1 + len(incident.branches))
        random, count = np.random.default_rng(own), len(incident.branches)
        services = {name for branch in incident.branches for name in branch if name != OUTSIDE}
        first = {name: int(random.integers(max(1, len(layout.pods_of(name))))) for name in sorted(services)}
        shared = {branch[0 if kind == "one_to_n" else -2] for branch in incident.branches}
        self._acts: list[Relay] = []
        met: dict[str, int] = {}
        for k, (branch, s) in enumerate(zip(incident.branches, seeds, strict=True)):
            chosen = {}
            for name in (n for n in branch if n != OUTSIDE):
                step = 0 if name in shared and len(branch) > 2 else met.get(name, 0)
                met[name] = met.get(name, 0) + 1
                chosen[name] = (first[name] + step) % max(1, len(layout.pods_of(name)))
            part = replace(
                incident,
                path=branch,
                message_ns=incident.message_ns[k::count],
                message_bytes=incident.message_bytes[k::count],
            )
            self._acts.append(make(part, islice(stolen_bytes(incident), k, None, count), chosen, s))
        path, self.pods = self._ends(incident)
        self.incident = replace(incident, path=path)

    def advance(self, until_ns: int) -> None:
        """Play the messages that leave the stores before `until_ns`."""
        for act in self._acts:
            act.advance(until_ns)

    @property
    def left_ns(self) -> list[int]:
        """When each message left its store, in the order of the plan."""
        return self._in_turn([act.left_ns for act in self._acts])

    @property
    def arrived_ns(self) -> list[int]:
        """When each message arrived outside, in the order of the plan."""
        return self._in_turn([act.arrived_ns for act in self._acts])

    @staticmethod
    def _in_turn(columns: list[list[int]]) -> list[int]:
        count = len(columns)
        total = sum(len(column) for column in columns)
        return [columns[i % count][i // count] for i in range(total)]

    def _ends(self, incident: Incident) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Services and pods of all branches, those near the stores first."""
        deepest = max(len(branch) for branch in incident.branches)
        met: dict[tuple[str, str], None] = {}
        for place in range(deepest):
            for act in self._acts:
                branch = act.incident.path[:-1]
                if place < len(branch):
                    met.setdefault((branch[place], act.pods[place]))
        services, pods = zip(*met, strict=True)
        return (*services, OUTSIDE), (*pods, "")
