"""Users walking through their behaviours: the compiled loop behind `mimir.load.population`.

`users` is (slots, 3): time of the next request in ns, its step (ABSENT: nobody there), the step where the behaviour ends.
`steps` are the columns of `Programs` with waits in ns: first, wait, request, leave, jump.
"""

from __future__ import annotations

import math
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from mimir.jit import kernel
from mimir.load.draws import State, below, between, normal, uniform
from mimir.units import NS_PER_S

Ints: TypeAlias = NDArray[np.int64]
Floats: TypeAlias = NDArray[np.float64]
Steps: TypeAlias = tuple[Ints, Floats, Ints, Floats, Ints]

TIME, STEP, STOP = 0, 1, 2
ABSENT, ENDED = -1, -2
TICK_NS = NS_PER_S  # how often the number of users is compared with the one wanted
DRIFT_TICKS = 60  # the pace drifts once a minute


@kernel(allocates=True)
def _choose(cumulative: Floats, random: State) -> int:
    x = uniform(random) * cumulative[-1]
    for i in range(len(cumulative)):
        if x < cumulative[i]:
            return i
    return len(cumulative) - 1


@kernel(allocates=True)
def _seek(step: int, stop: int, steps: Steps, random: State) -> int:
    """The next step from `step` on that is really done, or ENDED."""
    _, _, request, leave, jump = steps
    while step < stop:
        if leave[step] > 0.0 and uniform(random) < leave[step]:
            step = jump[step]
        elif request[step] < 0:
            step += 1
        else:
            return step
    return ENDED


@kernel(allocates=True)
def start(user: Ints, at_ns: int, steps: Steps, weights: Floats, pause: Floats, pace: float, random: State) -> None:
    """Begin a behaviour; one whose steps are all left out costs its pause and another is begun."""
    first, wait = steps[0], steps[1]
    while True:
        behaviour = _choose(weights, random)
        step = _seek(first[behaviour], first[behaviour + 1], steps, random)
        if step != ENDED:
            break
        at_ns += max(TICK_NS, int(pace * between(random, pause[0], pause[1])))
    user[TIME] = at_ns + int(pace * between(random, wait[step, 0], wait[step, 1]))
    user[STEP] = step
    user[STOP] = first[behaviour + 1]


@kernel(allocates=True)
def settle(users: Ints, count: int, start_ns: int, steps: Steps, occupied: Floats, random: State) -> None:
    """Put `count` users into the middle of what they do: behaviours weighted by the time they take, at any step."""
    first, wait = steps[0], steps[1]
    for i in range(count):
        step = ENDED
        while step == ENDED:
            behaviour = _choose(occupied, random)
            begin, stop = first[behaviour], first[behaviour + 1]
            step = _seek(begin + below(random, stop - begin), stop, steps, random)
        users[i, TIME] = start_ns + int(uniform(random) * max(wait[step, 1], TICK_NS))
        users[i, STEP] = step
        users[i, STOP] = stop


@kernel(allocates=True)
def doubled(rows: Ints) -> Ints:
    """A copy with twice the room (by a loop: assigning a slice costs two seconds of compiling its error message)."""
    out = np.empty((2 * len(rows), rows.shape[1]), dtype=np.int64)
    for i in range(len(rows)):
        for k in range(rows.shape[1]):
            out[i, k] = rows[i, k]
    return out


@kernel(allocates=True)
def walk(
    users: Ints,
    span: tuple[int, int, int],
    wanted: Ints,
    steps: Steps,
    weights: Floats,
    times: tuple[Floats, Floats],
    drift: tuple[float, float],
    pace: Floats,
    random: State,
) -> Ints:
    """Requests of [span[0], span[1]) of a recording that began at span[2], user by user within each tick.

    `wanted` is the number of users at each tick; `times` are the pause between behaviours and the usual response times
    (ns). Returns (R, 4): time, user slot, endpoint, 1 where the session ends.
    """
    out = np.empty((1024, 4), dtype=np.int64)
    used = 0
    present = int((users[:, STEP] != ABSENT).sum())
    for k in range(len(wanted)):
        begin = span[0] + k * TICK_NS
        end = min(begin + TICK_NS, span[1])
        if ((begin - span[2]) // TICK_NS) % DRIFT_TICKS == 0:
            pace[0] = drift[1] * pace[0] + math.sqrt(1.0 - drift[1] ** 2) * drift[0] * normal(random)
        speed = math.exp(pace[0])
        for i in range(len(users)):
            if users[i, STEP] == ABSENT:
                if present >= wanted[k]:
                    continue
                present += 1
                start(users[i], begin + int(uniform(random) * (end - begin)), steps, weights, times[0], speed, random)
            while users[i, STEP] != ABSENT and users[i, TIME] < end:
                if used == len(out):
                    out = doubled(out)
                ended = act(users[i], out[used], i, steps, times[1], speed, random)
                used += 1
                if ended and present > wanted[k]:
                    users[i, STEP] = ABSENT
                    present -= 1
                elif ended:
                    pause = int(speed * between(random, times[0][0], times[0][1]))
                    start(users[i], users[i, TIME] + pause, steps, weights, times[0], speed, random)
    return out[:used]


@kernel(allocates=True)
def act(user: Ints, row: Ints, slot: int, steps: Steps, response: Floats, speed: float, random: State) -> bool:
    """Write the user's request into `row` and move on; true when the behaviour ended (TIME is then its end)."""
    step = user[STEP]
    endpoint = steps[2][step]
    following = _seek(step + 1, user[STOP], steps, random)
    row[0], row[1], row[2], row[3] = user[TIME], slot, endpoint, 1 if following == ENDED else 0
    user[TIME] += int(response[endpoint])
    if following == ENDED:
        return True
    user[STEP] = following
    user[TIME] += int(speed * between(random, steps[1][following, 0], steps[1][following, 1]))
    return False
