"""A closed population of users: who asks for what when. Pure and seeded; memory is bounded by the time slice asked for.

The number of users follows the profile one by one: when more are wanted a user arrives, when fewer are wanted a user
leaves at the end of a behaviour. Nobody is ever cut off in the middle, and there is no moment at which all start again.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from mimir.load import walk
from mimir.load.behaviours import compile_behaviours
from mimir.load.draws import state_of
from mimir.load.mixes import mix_of
from mimir.load.profile import curve_of
from mimir.load.requests import Requests, Users, in_order
from mimir.load.sessions import Sessions
from mimir.spec.app import AppSpec
from mimir.spec.load import LoadSpec
from mimir.units import NS_PER_S


class Population:
    """`until(end_ns)` gives the requests from where the last call stopped up to `end_ns`."""

    def __init__(
        self, app: AppSpec, load: LoadSpec, start_ns: int, response_s: NDArray[np.float64], seed: np.random.SeedSequence
    ):
        """`response_s` is what each endpoint of the entry service usually takes; users wait that long, then pause."""
        self._curve, self._start_ns, self._now_ns = curve_of(load, load.users), start_ns, start_ns
        programs = compile_behaviours(app)
        self._steps = (programs.first, programs.wait_s * NS_PER_S, programs.request, programs.leave, programs.jump)
        shares = mix_of(load, app)
        weights = np.array([shares.get(name, 0.0) for name in programs.behaviours])
        self._times = (np.array(app.users.pause_s) * NS_PER_S, response_s * NS_PER_S)
        self._weights = np.cumsum(weights)
        self._random, self._pace = state_of(seed), np.zeros(1)
        self._drift = (load.pace_sigma, load.pace_memory)
        self.marks: list[tuple[float, dict[str, float]]] = []
        self._users = np.full((self.slots, 3), walk.ABSENT, dtype=np.int64)
        pause_s = float(np.mean(app.users.pause_s))
        lasting_s = [programs.expected(name)[0] + pause_s for name in programs.behaviours]
        occupied = np.cumsum(weights * lasting_s)
        walk.settle(self._users, self.wanted(0.0), start_ns, self._steps, occupied, self._random)

    @property
    def slots(self) -> int:
        """Most users there can be at a time."""
        return math.ceil(self._curve.most) + 1

    @property
    def present(self) -> int:
        """Users there are now."""
        return int((self._users[:, walk.STEP] != walk.ABSENT).sum())

    def wanted(self, offset_s: float) -> int:
        """Users the profile asks for, `offset_s` after the beginning."""
        return round(float(self._curve.at(offset_s)))

    def until(self, end_ns: int) -> Requests:
        """Requests of [where the last call stopped, end_ns), in order of time."""
        ticks = np.arange(self._now_ns, end_ns, walk.TICK_NS)
        wanted = np.rint(self._curve.at((ticks - self._start_ns) / NS_PER_S)).astype(np.int64)
        span = (self._now_ns, end_ns, self._start_ns)
        table = walk.walk(
            self._users, span, wanted, self._steps, self._weights, self._times, self._drift, self._pace, self._random
        )
        span_s = ((ns - self._start_ns) / NS_PER_S for ns in (self._now_ns, end_ns))
        self.marks += [(offset_s, {"users": self.wanted(offset_s)}) for offset_s in self._curve.marks_s(*span_s)]
        self._now_ns = end_ns
        return in_order(table)


def users_of(
    app: AppSpec, load: LoadSpec, start_ns: int, response_s: NDArray[np.float64], seed: np.random.SeedSequence
) -> Users:
    """The source of load that `load.arrivals` asks for; `load` is that of one recording (`LoadSpec.of`)."""
    kind = Sessions if load.arrivals == "open" else Population
    return kind(app, load, start_ns, response_s, seed)
