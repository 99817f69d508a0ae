"""Traffic without users: kubelet probes, heartbeats, API-server watches, and names looked up now and then."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from mimir.cluster.simulated.channels import Channels, Line
from mimir.cluster.simulated.layout import KUBE_DNS, Layout
from mimir.cluster.simulated.names import Names
from mimir.cluster.simulated.player import no_lookups
from mimir.cluster.simulated.resolve import AT, NAME, POD
from mimir.cluster.simulated.tables import CLIENT, DURATION, PIN, REQUEST, RESPONSE, SHARED, START, Ints, new_calls
from mimir.spec.app import ProbeSpec, ScrapeSpec

_JITTER = 0.02  # of a period: timers drift a little
_PROBE_BUSY_NS, _BUSY_NS = 900_000, 200_000
_SPREAD = 0.4  # sigma of the service time
_WATCH_BYTES = ((46, 0.0), (420, 0.5))  # HTTP/2 window update or ping; a changed object
_HEALTH_PORT = 8080  # CoreDNS' health plug-in


@dataclass
class Timer:
    """One member's periodic call: client row, pinned server row (or -1), period, and when it is due next."""

    row: int
    pin: int
    period_ns: float
    due_ns: float


@dataclass
class Beat:
    """A line that timers play on, with sizes `[median, sigma]` of request and response; 0 means no bytes at all."""

    line: Line
    timers: list[Timer]
    request: tuple[float, float]
    response: tuple[float, float]
    busy_ns: int
    every_s: float = 0.0
    renew: Callable[[Beat], None] = lambda beat: None  # gives timers to pods that came, after changes


class Background:
    """`calls(until_ns)` gives, per beat, the calls that are due; `lookups(until_ns)` the names."""

    def __init__(self, layout: Layout, names: Names, channels: Channels, start_ns: int, random: np.random.Generator):
        self._layout, self._random, self._now_ns = layout, random, start_ns
        self.beats = [
            *self._probes(channels),
            *self._heartbeats(channels),
            self._watch(channels),
            *self._scrapes(channels),
        ]
        self._names, self._channels, self._counted = names, channels, 0
        self._askers: list[tuple[int, int, float]] = []
        self._ask()
        layout.roster.follow(self._renew)

    def _ask(self) -> None:
        """Who looks names up: pods that came since the last time included."""
        lives = self._layout.roster.lives
        self._askers += [
            (number, self._names.number(lookup.name, lives[number].pod.namespace), lookup.every_s * 1e9)
            for lookup in self._layout.app.lookups
            for number in range(self._counted, len(lives))
            if lives[number].pod.service in lookup.services
        ]
        self._counted = len(lives)

    def _renew(self) -> None:
        """Pods have come: they get timers. Those of pods that are gone run on, and nobody hears them."""
        self._ask()
        for beat in self.beats:
            beat.renew(beat)

    def _more_timers(self, beat: Beat, *, pinned: bool) -> None:
        """A timer for every new row, the first beat within a period after the pod is ready."""
        rows = beat.line.channel.server_ready if pinned else beat.line.channel.client_from
        for i in range(len(beat.timers), len(rows)):
            due_ns = float(rows[i]) + self._random.random() * beat.every_s * 1e9
            beat.timers.append(Timer(0 if pinned else i, i if pinned else -1, beat.every_s * 1e9, due_ns))

    def _more_scrapes(self, beat: Beat, spec: ScrapeSpec) -> None:
        roster = self._layout.roster
        known = {(beat.line.pods[timer.row], timer.pin) for timer in beat.timers}
        clients, servers = roster.of(spec.client), roster.of(spec.server)
        pairs = [(i, j) for i in range(len(clients)) for j in range(len(servers)) if (clients[i], j) not in known]
        self._channels.add_pairs(beat.line, spec.client, pairs)
        for row, (i, j) in enumerate(pairs, len(beat.timers)):
            ready_ns = max(roster.lives[clients[i]].ready_ns, roster.lives[servers[j]].ready_ns)
            due_ns = float(ready_ns) + self._random.random() * beat.every_s * 1e9
            beat.timers.append(Timer(row, j, beat.every_s * 1e9, due_ns))

    def calls(self, beat: Beat, until_ns: int) -> Ints:
        """Call table of one beat, in order of time."""
        due = [(at, timer) for timer in beat.timers for at in self._due(timer, until_ns)]
        calls, count = new_calls(len(due)), len(due)
        if count:
            calls[:, START] = [at for at, _ in due]
            calls[:, CLIENT] = [timer.row for _, timer in due]
            calls[:, PIN] = [timer.pin for _, timer in due]
            calls[:, REQUEST], calls[:, RESPONSE] = self._sizes(beat.request, count), self._sizes(beat.response, count)
            calls[:, DURATION] = beat.busy_ns * self._random.lognormal(0, _SPREAD, count)
        return calls[np.argsort(calls[:, START], kind="stable")]

    def lookups(self, until_ns: int) -> Ints:
        """Names asked for at random times (a Poisson process a pod)."""
        span = until_ns - self._now_ns
        rows = []
        for pod, name, mean_ns in self._askers:
            times = self._now_ns + self._random.random(self._random.poisson(span / mean_ns)) * span
            life = self._layout.roster.lives[pod]
            rows += [(int(at), pod, name) for at in times if life.ready_ns <= at < life.gone_ns]
        self._now_ns = until_ns
        found = no_lookups(len(rows))
        if rows:
            found[:, [AT, POD, NAME]] = rows
        return found

    def _due(self, timer: Timer, until_ns: int) -> list[int]:
        times = []
        while timer.due_ns < until_ns:
            times.append(int(timer.due_ns))
            timer.due_ns += timer.period_ns * (1 + _JITTER * (self._random.random() - 0.5))
        return times

    def _sizes(self, pair: tuple[float, float], count: int) -> NDArray[np.int64]:
        if pair[0] == 0:
            return np.zeros(count, dtype=np.int64)
        return np.rint(self._random.lognormal(math.log(pair[0]), pair[1], count)).astype(np.int64)

    def _timers(self, count: int, every_s: float, *, pinned: bool) -> list[Timer]:
        starts = self._now_ns + self._random.random(count) * every_s * 1e9
        return [Timer(0 if pinned else i, i if pinned else -1, every_s * 1e9, float(at)) for i, at in enumerate(starts)]

    def _probes(self, channels: Channels) -> list[Beat]:
        wanted: list[tuple[str, int, ProbeSpec]] = [(KUBE_DNS, _HEALTH_PORT, self._layout.cluster.dns.probe)]
        wanted += [
            (n, s.target_port, s.probe)
            for n, s in self._layout.app.services.items()
            if s.probe and s.kind != "external"
        ]
        beats = []
        for service, port, probe in wanted:
            timers = self._timers(len(self._layout.pods_of(service)), probe.every_s, pinned=True)
            sizes = (float(probe.request_bytes), 0.0), (float(probe.response_bytes), 0.0)
            beats.append(Beat(channels.probes(service, port), timers, *sizes, busy_ns=_PROBE_BUSY_NS, every_s=probe.every_s,
                              renew=partial(self._more_timers, pinned=True)))  # fmt: skip
        return beats

    def _heartbeats(self, channels: Channels) -> list[Beat]:
        beats = []
        for back in self._layout.app.background:
            timers = self._timers(len(self._layout.pods_of(back.client)), back.every_s, pinned=False)
            line = channels.between(back.client, back.server, SHARED, 1)
            beats.append(Beat(line, timers, back.request, back.response, _BUSY_NS, back.every_s,
                              partial(self._more_timers, pinned=False)))  # fmt: skip
        return beats

    def _scrapes(self, channels: Channels) -> list[Beat]:
        beats = []
        for spec in self._layout.app.scrapes:
            clients, servers = (range(len(self._layout.pods_of(name))) for name in (spec.client, spec.server))
            pairs = [(i, j) for i in clients for j in servers]
            timers = self._timers(len(pairs), spec.every_s, pinned=False)
            for timer in timers:
                timer.pin = pairs[timer.row][1]
            line = channels.pairs(spec.client, spec.server, pairs, spec.port)
            beats.append(Beat(line, timers, spec.request, spec.response, _BUSY_NS, spec.every_s,
                              partial(self._more_scrapes, spec=spec)))  # fmt: skip
        return beats

    def _watch(self, channels: Channels) -> Beat:
        timers = self._timers(self._layout.cluster.dns.replicas, self._layout.cluster.dns.watch_every_s, pinned=False)
        return Beat(channels.watch(), timers, *_WATCH_BYTES, busy_ns=_BUSY_NS)
