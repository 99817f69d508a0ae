"""Benign triggers that move data: backups, exports, state transfers and periodic checks, chunk by chunk as calls."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mimir.apps.change import NODE as NODE_CLIENT
from mimir.cluster.base import RecordingOrder
from mimir.cluster.simulated.channels import Channels, Line
from mimir.cluster.simulated.layout import Layout
from mimir.cluster.simulated.names import Names
from mimir.cluster.simulated.player import Player, no_lookups
from mimir.cluster.simulated.tables import (
    CLIENT,
    DONE,
    DURATION,
    LAST,
    PIN,
    REQUEST,
    RESPONSE,
    SERVER,
    START,
    Ints,
    Rows,
    new_calls,
)  # fmt: skip
from mimir.cluster.simulated.triggers import plan_triggers
from mimir.cluster.simulated.world import Happened, World
from mimir.spec import Spec
from mimir.spec.change import TransferSpec
from mimir.units import NS_PER_S

_TRANSFERS = 0x5452414E  # keeps this stream apart
_BUSY_NS, _SPREAD = 2_000_000, 0.4  # until a chunk is answered
_STAGGER_S = 0.5  # pods begin so far apart at most
_FADING, _DECAYS = ("cache_cold_start",), 3.0  # time constants that such a transfer lasts


def faded(share: NDArray[np.float64]) -> NDArray[np.float64]:
    """When a share of a transfer is done, as a share of its time, if its rate decays exponentially.

    >>> faded(np.array([0.0, 0.5, 1.0])).round(2).tolist()
    [0.0, 0.21, 1.0]
    """
    when: NDArray[np.float64] = -np.log1p(-share * -np.expm1(-_DECAYS)) / _DECAYS
    return when


@dataclass
class Running:
    """One transfer of one trigger that has begun: its calls, of which `played` are on the wire already."""

    happened: Happened
    line: Line
    calls: Ints
    data: int  # column of the bytes that are transferred
    played: int = 0


class Transfers:
    """Plays the transfers of triggers that began. Its draws are its own: other benign packets stay the same."""

    def __init__(self, spec: Spec, layout: Layout, order: RecordingOrder, messages: list[bytes], world: World):
        seed = np.random.SeedSequence((*order.entropy, _TRANSFERS))
        channels, player, own = seed.spawn(3)
        self._layout, self._world, self._seen = layout, world, 0
        self._end_ns = (order.start_s + order.duration_s) * NS_PER_S
        self._random, self._running = np.random.default_rng(own), list[Running]()
        self._lines: dict[tuple[str, int], Line] = {}
        planned = [p for p in plan_triggers(spec, order) if p.spec.transfers]
        if planned:
            names = Names(layout, messages)
            builder = Channels(layout, names, np.random.default_rng(channels))
            self._lines = {
                (p.kind, i): builder.transfer(transfer) for p in planned for i, transfer in enumerate(p.spec.transfers)
            }
            self._player = Player(layout, names, player)

    def slice(self, until_ns: int) -> list[Rows]:
        """Packets of all chunks that are sent before `until_ns`; some lie later."""
        if not self._lines:
            return []
        for happened in self._world.happened[self._seen :]:
            started_ns = self._started_ns(happened)
            ends: dict[tuple[str, str], tuple[list[tuple[int, int]], int]] = {}
            for number, transfer in enumerate(happened.planned.spec.transfers):
                line, pair = self._lines[happened.planned.kind, number], (transfer.client, transfer.server)
                rows, at_ns = ends.get(pair) or (self._ends(transfer, line, started_ns, happened.joining), 0)
                ends[pair] = rows, self._begin(happened, transfer, line, rows, max(at_ns, started_ns))
            self._joined(happened)
        self._seen = len(self._world.happened)
        for running in self._running:
            self._advance(running, until_ns)
        for line in self._lines.values():
            self._player.sweep(line, until_ns)
        self._player.resolve(no_lookups())
        return self._player.take()

    def _started_ns(self, happened: Happened) -> int:
        """When the transfers of a trigger may begin: at once, or when the process of a joining pod is there."""
        if happened.joining is None:
            return happened.planned.start_ns
        return self._layout.roster.lives[happened.joining].ready_ns

    def _joined(self, happened: Happened) -> None:
        """A pod that joined is ready a second after it has everything."""
        if happened.joining is not None:
            self._layout.roster.lives[happened.joining].ready_ns = happened.end_ns + NS_PER_S
            happened.end_ns += NS_PER_S
            self._layout.roster.publish()

    def _begin(
        self, happened: Happened, spec: TransferSpec, line: Line, rows: list[tuple[int, int]], start_ns: int
    ) -> int:
        """Begin one transfer; what goes between the same services follows it, at the time returned."""
        column, pieces = REQUEST if spec.direction == "up" else RESPONSE, []
        for row, pin in rows:
            at_ns = start_ns + int(self._random.random() * _STAGGER_S * NS_PER_S)
            calls = self._chunks(spec, at_ns, fading=happened.planned.kind in _FADING)
            calls[:, CLIENT], calls[:, PIN] = row, pin
            pieces.append(calls)
        self._name_ends(happened, spec, line, pieces)
        if not pieces:
            return start_ns
        calls = np.concatenate(pieces)
        calls = calls[np.argsort(calls[:, START], kind="stable")]
        happened.bytes_intended += int(calls[:, column].sum())
        happened.end_ns = max(happened.end_ns, int(calls[-1, START]))
        self._running.append(Running(happened, line, calls, column))
        return int(calls[-1, START]) + NS_PER_S

    def _chunks(self, spec: TransferSpec, at_ns: int, *, fading: bool = False) -> Ints:
        """Calls of one pod: chunks that add up to the total drawn, each sent when its place in the rate has come.

        A fading transfer takes as long, but its rate falls exponentially, as misses of a cache that fills up.
        """
        total = max(1, int(self._random.uniform(*spec.total_bytes)))
        count = 2 * math.ceil(total / spec.chunk_bytes[0]) + 8
        sizes = self._sizes(spec.chunk_bytes, count)
        until = np.cumsum(sizes)
        while until[-1] < total:
            sizes = np.concatenate([sizes, self._sizes(spec.chunk_bytes, count)])
            until = np.cumsum(sizes)
        count = int(np.searchsorted(until, total)) + 1
        sizes, until = sizes[:count], until[:count]
        sizes[-1] -= until[-1] - total
        calls, other = new_calls(count), self._sizes(spec.other_bytes, count)
        up = spec.direction == "up"
        calls[:, REQUEST], calls[:, RESPONSE] = (sizes, other) if up else (other, sizes)
        before = np.concatenate([[0], until[:-1]])
        place = faded(before / total) * total if fading else before
        calls[:, START] = at_ns + place * (NS_PER_S / spec.bytes_per_s)
        calls[:, DURATION] = _BUSY_NS * self._random.lognormal(0, _SPREAD, count)
        calls[-1, LAST] = 1
        return calls

    def _ends(self, spec: TransferSpec, line: Line, at_ns: int, joining: int | None = None) -> list[tuple[int, int]]:
        """(client row, server row) of the connections: members of one service never speak to themselves.

        What a `joining` pod takes comes from one of those that are there.
        """
        channel = line.channel
        rows = np.flatnonzero((channel.client_from <= at_ns) & (channel.client_gone > at_ns)).tolist()
        if joining is not None:
            rows = [row for row in rows if line.pods[row] != joining]
        if spec.pods == "one" and rows:
            rows = [rows[int(self._random.integers(len(rows)))]]
        there = np.flatnonzero((channel.server_ready <= at_ns) & (channel.server_leave > at_ns)).tolist()
        if joining is not None:
            there = [self._layout.roster.of(spec.server).index(joining)]
        found = []
        for row in rows:
            others = [s for s in there if channel.server_ip[s] != channel.client_ip[row]]
            if others:
                found.append((row, others[int(self._random.integers(len(others)))]))
        return found

    def _name_ends(self, happened: Happened, spec: TransferSpec, line: Line, pieces: list[Ints]) -> None:
        roster = self._layout.roster
        servers = roster.of(spec.server)
        for calls in pieces:
            names = [roster.lives[line.pods[calls[0, CLIENT]]].pod.name] if line.pods else []
            names += [roster.lives[servers[calls[0, PIN]]].pod.name] if servers else []
            happened.pods += [name for name in names if name not in happened.pods]
        ends = (f"{NODE_CLIENT}:node-0" if spec.client == NODE_CLIENT else spec.client, spec.server)
        happened.services += [end for end in ends if end not in happened.services]

    def _advance(self, running: Running, until_ns: int) -> None:
        stop = int(np.searchsorted(running.calls[:, START], until_ns))
        due = running.calls[running.played : stop]
        running.played = stop
        if not len(due):
            return
        self._player.play(running.line, due, np.arange(len(due)))
        whole = due[(due[:, SERVER] >= 0) & (due[:, DONE] < self._gone_ns(running.line, due))]
        running.happened.bytes_delivered += int(whole[:, running.data].sum())
        if len(whole):
            running.happened.end_ns = max(running.happened.end_ns, int(whole[:, DONE].max()))

    def _gone_ns(self, line: Line, due: Ints) -> Ints:
        """When either end of each call is gone, or the recording over."""
        ends = np.minimum(line.channel.client_gone[due[:, CLIENT]], line.channel.server_gone[due[:, PIN]])
        return np.minimum(ends, self._end_ns)

    def _sizes(self, pair: tuple[float, float], count: int) -> Ints:
        drawn = np.rint(self._random.lognormal(math.log(pair[0]), pair[1], count)).astype(np.int64)
        return np.maximum(drawn, 1)
