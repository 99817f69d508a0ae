"""Stores that replicate among their pods: writes and beats between the members of a group, pod address to pod address."""

from __future__ import annotations

import math

import numpy as np

from mimir.apps.calls import CallTrees
from mimir.cluster.simulated.channels import Channels, Line
from mimir.cluster.simulated.layout import Layout
from mimir.cluster.simulated.tables import (
    ASKED,
    CLIENT,
    DURATION,
    ENDPOINT,
    PIN,
    PUSHED,
    REPLIED,
    REQUEST,
    RESPONSE,
    SERVER,
    START,
    Floats,
    Ints,
    new_calls,
)  # fmt: skip
from mimir.spec.app import ReplicationSpec

_CERTIFY_NS, _SPREAD = 150_000, 0.4  # until a member has looked at what it got
_JITTER = 0.02  # of a period, as all timers


class Replication:
    """Connections of every pair of members. `calls(…)` gives what crosses them because of calls that were played.

    The member that joined later opened the connection of a pair; what the other one has to say is pushed to it.
    """

    def __init__(
        self, spec: ReplicationSpec, layout: Layout, trees: CallTrees, channels: Channels, start_ns: int,
        random: np.random.Generator,
    ):  # fmt: skip
        members = len(layout.pods_of(spec.service))
        pairs = [(i, j) for i in range(members) for j in range(i)]
        self._channels, self._roster, self._start_ns = channels, layout.roster, start_ns
        self.line: Line = channels.pairs(spec.service, spec.service, pairs, spec.port)
        self._spec, self._random, self._pairs = spec, random, np.array(pairs, dtype=np.int64).reshape(-1, 2)
        names = {f"{spec.service}:{endpoint}" for endpoint in spec.endpoints}
        self._writes = np.array([name in names for name in trees.endpoints])
        self._due_ns: Floats = start_ns + random.random(len(pairs)) * spec.every_s * 1e9

    def calls(self, played: Ints, until_ns: int) -> Ints:
        """Call table, in order of time: writes among `played` to all other members, and beats due before `until_ns`."""
        self._grow()
        writes = played[self._writes[played[:, ENDPOINT]]]
        writes = writes[writes[:, SERVER] >= 0]
        pairs = range(len(self._pairs))
        found = np.concatenate([*(self._passed_on(writes, pair) for pair in pairs), new_calls(0),
                                *(self._heard(writes, pair) for pair in pairs), self._beats(until_ns)])  # fmt: skip
        found[:, DURATION] = _CERTIFY_NS * self._random.lognormal(0, _SPREAD, len(found))
        return found[np.argsort(found[:, START], kind="stable")]

    def _grow(self) -> None:
        """Pairs of members that joined: with all that were there before; what comes before they are ready is dropped."""
        numbers = self._roster.of(self._spec.service)
        known = int(self._pairs.max(initial=0)) + 1
        if len(numbers) <= known:
            return
        pairs = [(i, j) for i in range(known, len(numbers)) for j in range(i)]
        self._channels.add_pairs(self.line, self._spec.service, pairs)
        self._pairs = np.concatenate([self._pairs, np.array(pairs, dtype=np.int64)])
        ready_ns = [max(self._roster.lives[numbers[i]].ready_ns, self._start_ns) for i, _ in pairs]
        beat_ns = self._random.random(len(pairs)) * self._spec.every_s * 1e9
        self._due_ns = np.concatenate([self._due_ns, ready_ns + beat_ns])

    def _passed_on(self, writes: Ints, pair: int) -> Ints:
        """Writes of either member of a pair to the other, half way between request and reply."""
        later, earlier = self._pairs[pair]
        here = writes[(writes[:, SERVER] == later) | (writes[:, SERVER] == earlier)]
        calls, pushed = new_calls(len(here)), here[:, SERVER] == earlier
        calls[:, START] = (here[:, ASKED] + here[:, REPLIED]) // 2
        data = np.rint(self._spec.carries * here[:, REQUEST]).astype(np.int64) + self._sizes(
            self._spec.frame, len(here)
        )
        reply = self._sizes(self._spec.reply, len(here))
        calls[:, REQUEST], calls[:, RESPONSE] = np.where(pushed, reply, data), np.where(pushed, data, reply)
        calls[:, PUSHED], calls[:, CLIENT], calls[:, PIN] = pushed, pair, earlier
        return calls

    def _heard(self, writes: Ints, pair: int) -> Ints:
        """Writes of third members: everybody tells everybody what has come, which puts writes into one order (Moser et al. 1994)."""
        later, earlier = self._pairs[pair]
        elsewhere = writes[(writes[:, SERVER] != later) & (writes[:, SERVER] != earlier)]
        calls = new_calls(len(elsewhere))
        calls[:, START] = (elsewhere[:, ASKED] + elsewhere[:, REPLIED]) // 2 + _CERTIFY_NS
        calls[:, REQUEST], calls[:, RESPONSE] = (self._sizes(self._spec.reply, len(elsewhere)) for _ in range(2))
        calls[:, CLIENT], calls[:, PIN] = pair, earlier
        return calls

    def _beats(self, until_ns: int) -> Ints:
        period_ns, rows = self._spec.every_s * 1e9, []
        for pair in range(len(self._pairs)):
            while self._due_ns[pair] < until_ns:
                rows.append((int(self._due_ns[pair]), pair, int(self._pairs[pair, 1])))
                self._due_ns[pair] += period_ns * (1 + _JITTER * (self._random.random() - 0.5))
        calls = new_calls(len(rows))
        if rows:
            calls[:, [START, CLIENT, PIN]] = rows
            calls[:, REQUEST], calls[:, RESPONSE] = (self._sizes(self._spec.beat, len(rows)) for _ in range(2))
        return calls

    def _sizes(self, pair: tuple[float, float], count: int) -> Ints:
        return np.rint(self._random.lognormal(math.log(pair[0]), pair[1], count)).astype(np.int64)
