"""Users: the walk of `mimir.load.population` acted out in real time, each user at an address of their own.

When a request is due is the population's plan; a user whose last request still waits for its reply begins the next one
late, and how often that happens decides whether the load was reached.
"""

from __future__ import annotations

import asyncio
import time

import numpy as np

from mimir.cluster.netns.application import Application, usual_response_s
from mimir.cluster.netns.lines import Lines
from mimir.cluster.netns.real.base import Browser, Programs
from mimir.cluster.netns.tasks import BROKEN
from mimir.cluster.netns.wire import Call
from mimir.load.population import users_of
from mimir.spec.app import AppSpec
from mimir.spec.load import LoadSpec
from mimir.units import NS_PER_S

_AHEAD_NS = NS_PER_S


class Users:
    """One continuous population. Counters cover what was due since `count_from_ns`."""

    def __init__(
        self, application: Application, load: LoadSpec, start_ns: int, seed: np.random.SeedSequence, count_from_ns: int
    ):
        self._it, self._start_ns, self._from_ns = application, start_ns, count_from_ns
        self.start_s = start_ns / NS_PER_S
        app, trees = application.app, application.trees
        entry = list(app.services).index(app.users.entry)
        self._targets = [n for n in range(len(trees.endpoints)) if trees.service[n] == entry]
        usual = usual_response_s(trees)
        self.population = users_of(app, load, start_ns, np.array([usual[n] for n in self._targets]), seed)
        edges = [e for e in app.edges if (e.client, e.server) == ("outside", app.users.entry)]
        self._edge = edges[0] if edges else None
        self._sessions: dict[int, Lines | Browser] = {}
        self._turns: dict[int, asyncio.Lock] = {}
        self.due = self.done = self.failed = self.late = 0
        self.excused = 0  #: failed while pods came or went: what such a change costs its users
        self.latencies_s: list[float] = []
        limits = application.layout.cluster.limits
        self._late_s, self._timeout_s = limits.late_s, application.layout.cluster.request_timeout_s

    async def run(self, end_ns: int) -> None:
        """Start every request at its time until `end_ns`."""
        now_ns = self._start_ns
        while now_ns < end_ns:
            now_ns = min(now_ns + _AHEAD_NS, end_ns)
            batch = self.population.until(now_ns)
            for ts, user, endpoint, last in zip(
                batch.ts_ns.tolist(), batch.user.tolist(), batch.endpoint.tolist(), batch.last.tolist(), strict=True
            ):
                await asyncio.sleep(max(0.0, (ts - time.time_ns()) / NS_PER_S))
                self._it.tasks.start(self._request(ts, user, endpoint, last=last), "user")
            await asyncio.sleep(max(0.0, (now_ns - time.time_ns()) / NS_PER_S))

    def close(self) -> None:
        """Close the connections of all sessions."""
        for lines in self._sessions.values():
            lines.close()

    async def _request(self, ts: int, user: int, endpoint: int, *, last: bool) -> None:
        counted = ts >= self._from_ns
        self.due += counted
        async with self._turns.setdefault(user, asyncio.Lock()):
            begun_ns = time.time_ns()
            self.late += counted and (begun_ns - ts) / NS_PER_S > self._late_s
            try:
                async with asyncio.timeout(self._timeout_s):
                    await self._ask(user, self._targets[endpoint])
                self.done += counted
                self.latencies_s.append((time.time_ns() - begun_ns) / NS_PER_S)
            except BROKEN:
                if self._it.unrest.excuses(begun_ns / NS_PER_S, time.time()):
                    self.excused += counted
                else:
                    self.failed += counted
                last = True
            if last and user in self._sessions:
                self._sessions.pop(user).close()

    async def _ask(self, user: int, target: int) -> None:
        app, trees = self._it.app, self._it.trees
        if self._it.programs and app.users.entry in self._it.real:
            await self._browse(self._it.programs, user, target)
            return
        if user not in self._sessions:
            self._sessions[user] = self._it.entry(self._it.hosts.client(user), self._edge)
        lines, entry = self._sessions[user], app.services[app.users.entry]
        action = list(entry.endpoints.values())[self._targets.index(target)].action
        assert isinstance(lines, Lines)
        size = self._it.draw(trees.request[target])
        async with lines.use() as line:
            await line.ask(Call(entry.protocol, action, app.name, target, size, close=lines.per_request))

    async def _browse(self, programs: Programs, user: int, target: int) -> None:
        """The same request to real programs."""
        if user not in self._sessions:
            self._sessions[user] = programs.browser(self._it.hosts.client(user), user)
        browser, number = self._sessions[user], self._targets.index(target)
        assert not isinstance(browser, Lines)
        endpoint = list(self._it.app.services[self._it.app.users.entry].endpoints)[number]
        await browser.ask(endpoint, self._it.draw(self._it.trees.request[target]))


def warm_up(app: AppSpec, load: LoadSpec) -> None:
    """Compile what walks the users, which takes seconds the first time, while nothing is due yet."""
    entry = app.services[app.users.entry]
    walk = users_of(app, load, 0, np.full(len(entry.endpoints), 0.01), np.random.SeedSequence(0))
    for second in range(1, 6):
        walk.until(second * NS_PER_S)
