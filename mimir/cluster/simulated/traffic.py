"""Benign traffic of one recording, one time slice at a time: users, their calls, everything in the background."""

from __future__ import annotations

import numpy as np

from mimir.apps.calls import CallTrees, compile_calls
from mimir.apps.graph import ANY, Turn, depths, play_order
from mimir.cluster.simulated import expand
from mimir.cluster.simulated.background import Background
from mimir.cluster.simulated.channels import Channels, Line
from mimir.cluster.simulated.expand import Content
from mimir.cluster.simulated.layout import Layout
from mimir.cluster.simulated.names import Names
from mimir.cluster.simulated.player import Player
from mimir.cluster.simulated.replication import Replication
from mimir.cluster.simulated.tables import (
    CALLER,
    CLIENT,
    DELAY,
    EDGE,
    ENDPOINT,
    LAST,
    PARENT,
    PUSHED,
    SERVER,
    START,
    Ints,
    Rows,
    new_calls,
)  # fmt: skip
from mimir.cluster.simulated.world import World
from mimir.load.draws import state_of
from mimir.load.population import users_of
from mimir.spec.app import OUTSIDE
from mimir.spec.load import LoadSpec


class Traffic:
    """`slice(until_ns)` gives the packets of everything that begins before `until_ns` and was not given yet."""

    def __init__(
        self, layout: Layout, load: LoadSpec, start_ns: int, seed: np.random.SeedSequence, world: World | None = None
    ):
        """`world` makes pods come and go; without it they stay as they are."""
        users, calls, content, channels, background, player, peers = seed.spawn(7)
        app = layout.app
        self._world = world
        self.layout, self._now_ns = layout, start_ns
        self._trees: CallTrees = compile_calls(app)
        self._model = expand.model_of(self._trees)
        self._entry = [
            self._trees.endpoints.index(f"{app.users.entry}:{e}") for e in app.services[app.users.entry].endpoints
        ]
        self.population = users_of(app, load, start_ns, self._response_s(), users)
        self.messages: list[bytes] = []  # DNS messages that packets point to; a leak adds its own
        names = Names(layout, self.messages)
        builder = Channels(layout, names, np.random.default_rng(channels))
        self._turns = play_order(app)
        self._lines = {t: builder.edge(app.edges[t.edge], self.population.slots) for t in sorted(self._turns)}
        self._background = Background(layout, names, builder, start_ns, np.random.default_rng(background))
        self._player = Player(layout, names, player)
        self._random, self._content_random = state_of(calls), np.random.default_rng(content)
        self._collections = np.array([*app.collections.values(), 0], dtype=np.int64)
        self._content = self._content_random.standard_normal(len(app.services))
        overhead = {turn.edge: line.channel.overhead_ns for turn, line in self._lines.items()}
        self._overhead = np.array([overhead[edge] for edge in range(len(app.edges))])
        depth = depths(app)
        self._depth = np.array([depth[name] for name in self._trees.endpoints])
        own = np.random.default_rng(peers)
        self._groups = [Replication(spec, layout, self._trees, builder, start_ns, own) for spec in app.replication]

    def slice(self, until_ns: int) -> list[Rows]:
        """Packets, in pieces, unordered; some lie after `until_ns`, none before the last slice's end."""
        calls = self._expand(until_ns)
        if self._world:
            self._world.advance(until_ns, calls, self._trees)
        for turn in self._turns:
            self._play_turn(turn, calls)
        for group in self._groups:
            passed_on = group.calls(calls, until_ns)
            self._player.play(group.line, passed_on, np.arange(len(passed_on)))
        for beat in self._background.beats:
            due = self._background.calls(beat, until_ns)
            self._player.play(beat.line, due, np.arange(len(due)))
        around = [*(beat.line for beat in self._background.beats), *(group.line for group in self._groups)]
        for line in [*self._lines.values(), *around]:
            self._player.sweep(line, until_ns)
        self._player.resolve(self._background.lookups(until_ns))
        self._now_ns = until_ns
        return self._player.take()

    def _expand(self, until_ns: int) -> Ints:
        requests = self.population.until(until_ns)
        endpoints = np.array(self._entry)[requests.endpoint]
        calls = new_calls(int(self._trees.largest[endpoints].sum()))
        roots = len(endpoints)
        app = self.layout.app
        outside = [(e.client, e.server) for e in app.edges].index((OUTSIDE, app.users.entry))
        calls[:roots, START], calls[:roots, CLIENT] = requests.ts_ns, requests.user
        calls[:roots, ENDPOINT], calls[:roots, EDGE], calls[:roots, LAST] = endpoints, outside, requests.last
        content = Content(self._common(until_ns), self.layout.cluster.content_share, self._now_ns)
        used = expand.expand(calls, roots, self._model, self._collections, content, self._overhead, self._random)
        return calls[:used]

    def _play_turn(self, turn: Turn, calls: Ints) -> None:
        """Calls of one edge; who calls is known by now, because turns are taken in the order of the call graph."""
        rows = np.flatnonzero(calls[:, EDGE] == turn.edge)
        if turn.depth != ANY:
            rows = rows[self._depth[calls[calls[rows, PARENT], ENDPOINT]] == turn.depth]
        if not len(rows):
            return
        app, line = self.layout.app, self._lines[turn]
        parents = calls[rows, PARENT]
        inner = rows[parents >= 0]
        if len(inner):
            parent = calls[inner, PARENT]
            calls[inner, START] += calls[parent, DELAY]
            served_by = np.array(list(app.services).index(app.edges[turn.edge].client))
            own = self._trees.service[calls[parent, ENDPOINT]] == served_by
            there = _there(line, calls[inner, START])
            consumers = there[self._content_random.integers(0, len(there), len(inner))]
            calls[inner, CLIENT] = np.where(own, calls[parent, SERVER], consumers)
        rows = rows[np.argsort(calls[rows, START], kind="stable")]
        if line.channel.policy == CALLER:
            last = np.unique(calls[rows[::-1], PARENT], return_index=True)[1]
            calls[rows[len(rows) - 1 - last], LAST] = 1
        calls[rows, PUSHED] = self._trees.pushed[calls[rows, ENDPOINT]]
        self._player.play(line, calls, rows)
        if len(inner):
            calls[inner, DELAY] += calls[calls[inner, PARENT], DELAY]

    def _common(self, until_ns: int) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
        """Drift of the content, one row a minute: an autoregressive process of variance 1 for each service."""
        memory = self.layout.cluster.content_memory
        minutes = []
        for _ in range(-(-(until_ns - self._now_ns) // 60_000_000_000)):
            fresh = self._content_random.standard_normal(len(self._content))
            self._content = memory * self._content + np.sqrt(1 - memory**2) * fresh
            minutes.append(self._content)
        return np.array(minutes)

    def _response_s(self) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
        """What requests of the entry service usually take: own times of the whole tree, one after the other."""
        usual = np.exp(self._trees.busy[:, 0]) / 1e9
        for _ in range(len(self.layout.app.services)):
            total = np.exp(self._trees.busy[:, 0]) / 1e9
            callers = np.repeat(np.arange(len(total)), np.diff(self._trees.first_call))
            waited = self._trees.stage >= 0
            share = self._trees.probability * self._trees.counts.mean(axis=1) * waited
            np.add.at(total, callers, share * (usual[self._trees.target] + 0.001))
            usual = total
        return usual[self._entry]


def _there(line: Line, start_ns: Ints) -> Ints:
    """Client rows of a line that are there all the time calls start; all, should there be none."""
    channel = line.channel
    there = np.flatnonzero((channel.client_from <= start_ns.min()) & (channel.client_gone > start_ns.max()))
    return there if len(there) else np.arange(len(channel.client_ip))
