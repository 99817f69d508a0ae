"""One incident over several branches at once: messages take them in turn, a relay for each branch."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import islice
from typing import Any

import numpy as np

from mimir.cluster.netns.hosts import Hosts, PodHost
from mimir.cluster.netns.relay import Relay
from mimir.exfiltration.paths import OUTSIDE
from mimir.exfiltration.plan import Incident, stolen_bytes

#: incident of a branch, its messages, pods chosen for its services
MakeRelay = Callable[[Incident, Iterator[bytes], dict[str, PodHost]], Relay]


class Fan:
    """Acts the branches out side by side. The ledger's path names every service once a pod of it, those near stores first."""

    def __init__(self, hosts: Hosts, incident: Incident, kind: str, make: MakeRelay, random: np.random.Generator):
        count, self._plan = len(incident.branches), incident
        shared = {branch[0 if kind == "one_to_n" else -2] for branch in incident.branches}
        met: dict[str, int] = {}
        self._acts: list[Relay] = []
        first: dict[str, int] = {}
        for k, branch in enumerate(incident.branches):
            chosen = {}
            for name in branch[:-1]:
                pods = hosts.of(name)
                first.setdefault(name, int(random.integers(max(1, len(pods)))))
                step = 0 if name in shared and len(branch) > 2 else met.get(name, 0)
                met[name] = met.get(name, 0) + 1
                if pods:
                    chosen[name] = pods[(first[name] + step) % len(pods)]
            part = replace(
                incident,
                path=branch,
                message_ns=incident.message_ns[k::count],
                message_bytes=incident.message_bytes[k::count],
            )
            self._acts.append(make(part, islice(stolen_bytes(incident), k, None, count), chosen))

    @property
    def incident(self) -> Incident:
        """The incident with all services of all branches as its path."""
        return replace(self._plan, path=(*(service for service, _ in self._ends()), OUTSIDE))

    @property
    def pods(self) -> tuple[str, ...]:
        """A pod for each service of the path."""
        return (*(pod for _, pod in self._ends()), "")

    @property
    def left(self) -> list[tuple[float, bytes]]:
        """When each message left its store, in the order of the plan."""
        return self._in_turn([act.left for act in self._acts])

    @property
    def arrived(self) -> list[tuple[float, bytes]]:
        """When each message arrived outside, in the order of the plan."""
        return self._in_turn([act.arrived for act in self._acts])

    @property
    def replaced(self) -> list[dict[str, Any]]:
        """Hops that died."""
        return [event for act in self._acts for event in act.replaced]

    async def run(self) -> None:
        """All branches until every message arrived."""
        await asyncio.gather(*(act.run() for act in self._acts if len(act.incident.message_ns)))

    def gone(self, host: PodHost) -> None:
        """A pod's process has ended."""
        for act in self._acts:
            act.gone(host)

    @staticmethod
    def _in_turn(columns: list[list[tuple[float, bytes]]]) -> list[tuple[float, bytes]]:
        longest = max(len(column) for column in columns)
        return [column[i] for i in range(longest) for column in columns if i < len(column)]

    def _ends(self) -> list[tuple[str, str]]:
        met: dict[tuple[str, str], None] = {}
        for place in range(max(len(branch) for branch in self._plan.branches)):
            for act in self._acts:
                branch = act.incident.path[:-1]
                if place < len(branch):
                    met.setdefault((branch[place], act.pods[place]))
        return list(met)
