"""Sessions that arrive as an inhomogeneous Poisson process and end by themselves. Pure and seeded.

Whether somebody arrives does not depend on how many are there, unlike in a closed population (Schroeder, Wierman and
Harchol-Balter: Open Versus Closed: A Cautionary Tale, NSDI 2006). A session is one behaviour. Those that began before
the recording are played too, so that it begins in the steady state. Memory is bounded by a slice and the sessions in it.
"""

from __future__ import annotations

import heapq
import math

import numpy as np
from numpy.typing import NDArray

from mimir.jit import kernel
from mimir.load import walk
from mimir.load.behaviours import compile_behaviours
from mimir.load.mixes import mix_of
from mimir.load.profile import Curve, curve_of
from mimir.load.requests import Requests, in_order
from mimir.spec.app import AppSpec
from mimir.spec.load import LoadSpec
from mimir.units import NS_PER_S

MINUTE_NS = 60 * NS_PER_S
REST_NS = NS_PER_S  # a client's address is not given to the next session before its connection is closed
Ints = NDArray[np.int64]


class Sessions:
    """`until(end_ns)` gives the requests from where the last call stopped up to `end_ns`."""

    def __init__(
        self, app: AppSpec, load: LoadSpec, start_ns: int, response_s: NDArray[np.float64], seed: np.random.SeedSequence
    ):
        """`response_s` is what each endpoint of the entry service usually takes; the next request of a session waits for it."""
        programs, shares = compile_behaviours(app), mix_of(load, app)
        weights = [shares.get(name, 0.0) for name in programs.behaviours]
        self._steps = (programs.first, programs.wait_s * NS_PER_S, programs.request, programs.leave, programs.jump)
        self._weights = np.cumsum(weights)
        self._times = (np.array(app.users.pause_s) * NS_PER_S, response_s * NS_PER_S)
        self.length_s = sum(
            w * programs.lasting_s(n, response_s) for w, n in zip(weights, programs.behaviours, strict=True)
        )
        self._curve, self._per_s = arrival_curve(load, self.length_s)
        self._sigma, self._memory = load.pace_sigma, load.pace_memory
        self._counts, self._offsets, self._words, self._drift = (np.random.default_rng(s) for s in seed.spawn(4))
        early_s = math.ceil(programs.longest_s(response_s) * math.exp(4 * self._sigma))
        self._start_ns, self._now_ns = start_ns, start_ns
        self._arrived_ns = self._first_ns = start_ns - early_s * NS_PER_S
        self._pace: list[float] = []
        self._later = np.empty((0, 4), dtype=np.int64)
        self._there = np.empty((2, 0), dtype=np.int64)
        self._busy: list[tuple[int, int]] = []
        self._free = list(range(self.slots))
        self.marks: list[tuple[float, dict[str, float]]] = []

    @property
    def slots(self) -> int:
        """Client addresses: more sessions at a time are all but impossible (ten standard deviations above the mean)."""
        most = self._curve.most * self._per_s * self.length_s * math.exp(2 * self._sigma)
        return math.ceil(most + 10 * math.sqrt(most)) + 10

    @property
    def present(self) -> int:
        """Sessions there are now."""
        return self._present(self._now_ns)

    def rate_per_min(self, offset_s: float) -> float:
        """Expected arrivals a minute, `offset_s` after the beginning."""
        return 60 * self._per_s * float(self._curve.at(offset_s))

    def until(self, end_ns: int) -> Requests:
        """Requests of [where the last call stopped, end_ns), in order of time."""
        begin_ns = self._arrivals(end_ns)
        words = self._words.integers(0, 2**64, len(begin_ns), dtype=np.uint64)
        rows, ended_ns = play(begin_ns, words, self._speed(begin_ns), self._steps, self._weights, self._times)
        rows[:, 1] = self._seats(begin_ns, ended_ns)[rows[:, 1]]
        self._there = np.concatenate([self._there, [begin_ns, ended_ns]], axis=1)
        for offset_s in self._curve.marks_s(*((ns - self._start_ns) / NS_PER_S for ns in (self._now_ns, end_ns))):
            there = self._present(self._start_ns + round(offset_s * NS_PER_S))
            self.marks.append((offset_s, {"users": there, "sessions_per_min": round(self.rate_per_min(offset_s), 3)}))
        self._now_ns = end_ns
        self._there = self._there[:, self._there[1] > end_ns]
        table = np.concatenate([self._later, rows[rows[:, 0] >= self._start_ns]])
        self._later = table[table[:, 0] >= end_ns]
        return in_order(table[table[:, 0] < end_ns])

    def _present(self, at_ns: int) -> int:
        return int(((self._there[0] <= at_ns) & (self._there[1] > at_ns)).sum())

    def _arrivals(self, end_ns: int) -> Ints:
        """Times of the sessions that begin before `end_ns` and were not given yet, in order."""
        ticks = np.arange(self._arrived_ns, end_ns, walk.TICK_NS)
        self._arrived_ns = end_ns
        width_s = np.minimum(end_ns - ticks, walk.TICK_NS) / NS_PER_S
        middle_s = (ticks - self._start_ns) / NS_PER_S + width_s / 2
        counts = self._counts.poisson(self._curve.at(middle_s) * self._per_s * width_s)
        within = self._offsets.random(int(counts.sum())) * np.repeat(width_s, counts) * NS_PER_S
        arrived: Ints = np.sort(np.repeat(ticks, counts) + within.astype(np.int64))
        return arrived

    def _speed(self, begin_ns: Ints) -> NDArray[np.float64]:
        """Factor on the waits of each session: the pace of the minute in which it began."""
        minute = (begin_ns - self._first_ns) // MINUTE_NS
        while len(self._pace) <= int(minute.max(initial=-1)):
            fresh = math.sqrt(1 - self._memory**2) * self._sigma * self._drift.standard_normal()
            self._pace.append(self._memory * (self._pace[-1] if self._pace else 0.0) + fresh)
        factor: NDArray[np.float64] = np.exp(np.array([*self._pace, 0.0])[minute])
        return factor

    def _seats(self, begin_ns: Ints, ended_ns: Ints) -> Ints:
        """A client address for each session: the lowest that is free, or the one that will be free first."""
        seats = np.empty(len(begin_ns), dtype=np.int64)
        for i, (begin, end) in enumerate(zip(begin_ns.tolist(), ended_ns.tolist(), strict=True)):
            while self._busy and self._busy[0][0] <= begin:
                heapq.heappush(self._free, heapq.heappop(self._busy)[1])
            seat = heapq.heappop(self._free) if self._free else heapq.heappop(self._busy)[1]
            heapq.heappush(self._busy, (end + REST_NS, seat))
            seats[i] = seat
        return seats


def arrival_curve(load: LoadSpec, length_s: float) -> tuple[Curve, float]:
    """(curve, arrivals per second and unit of the curve). The curve is in sessions a minute where the load says so.

    Else it is in users, and by Little's law (Little 1961) users / `length_s` arrive per second for that many to be there.
    """
    if load.sessions_per_min is not None:
        return curve_of(load, load.sessions_per_min), 1 / 60
    return curve_of(load, load.users), 1 / length_s


@kernel(allocates=True)
def play(
    begin_ns: Ints,
    words: NDArray[np.uint64],
    speed: NDArray[np.float64],
    steps: walk.Steps,
    weights: walk.Floats,
    times: tuple[walk.Floats, walk.Floats],
) -> tuple[Ints, Ints]:
    """All requests of sessions, each with random numbers of its own (`words`), and when each session ends.

    Returns (R, 4): time, number of the session, endpoint, 1 for the last; and (S,).
    """
    out = np.empty((1024, 4), dtype=np.int64)
    ended = np.empty(len(begin_ns), dtype=np.int64)
    used = 0
    user = np.empty(3, dtype=np.int64)
    random = np.empty(1, dtype=np.uint64)
    for i in range(len(begin_ns)):
        random[0] = words[i]
        walk.start(user, begin_ns[i], steps, weights, times[0], speed[i], random)
        over = False
        while not over:
            if used == len(out):
                out = walk.doubled(out)
            over = walk.act(user, out[used], i, steps, times[1], speed[i], random)
            used += 1
        ended[i] = user[walk.TIME]
    return out[:used], ended
