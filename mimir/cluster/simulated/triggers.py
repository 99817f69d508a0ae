"""When benign triggers happen in a recording: drawn from the seed, apart from incidents where that is asked for."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np

from mimir.apps.graph import allowed_edges
from mimir.cluster.base import RecordingOrder
from mimir.errors import Problem, SpecError
from mimir.exfiltration.baseline import needs_baseline
from mimir.exfiltration.plan import LEAD_SHARE, World, plan_incidents
from mimir.load.profile import users_at
from mimir.spec import Spec
from mimir.spec.change import BenignSpec
from mimir.units import NS_PER_S

_WHEN = 0x54524947  # keeps this stream apart
_GAP_S = 120.0  # at least this between two triggers, and before an incident: windows belong to one of them
_SETTLE_S = 60.0  # pods may still drain so long after a trigger's planned end
_STEP_S = 5.0  # grid of possible starts


@dataclass(frozen=True)
class Planned:
    """One trigger of a recording: it begins at `start_ns` and is planned to last until `end_ns`."""

    kind: str
    number: int
    start_ns: int
    end_ns: int
    spec: BenignSpec


@dataclass
class Happened:
    """A trigger as it really went: when, which services and pods."""

    planned: Planned
    end_ns: int
    services: list[str]
    pods: list[str]
    bytes_intended: int = 0
    bytes_delivered: int = 0
    joining: int | None = None  # number of the pod that takes a copy of its store before it is ready


def plan_triggers(spec: Spec, order: RecordingOrder) -> list[Planned]:
    """Triggers of a recording in order of time. Raises SpecError when they do not fit."""
    load = spec.load
    if order.name not in load.trigger_recordings or not load.triggers:
        return []
    random = np.random.default_rng(np.random.SeedSequence((*order.entropy, _WHEN)))
    busy: list[tuple[float, float]] = []
    if order.leaking and load.trigger_separate:
        world = World(allowed_edges(spec.app), partial(users_at, load.of(order.name)), order.baseline)
        incidents = plan_incidents(spec.exfiltration, order.start_s, order.duration_s, order.entropy, world)
        after_s = max(spec.evaluation.recovery_s, _GAP_S)
        busy = [(i.start_s - order.start_s - _GAP_S, i.end_s - order.start_s + after_s) for i in incidents]
    wanted = [kind for kind in load.triggers for _ in range(load.trigger_count)]
    lasting = [float(random.uniform(*spec.app.triggers[kind].duration_s)) for kind in wanted]
    placed: dict[int, float] = {}
    for i in sorted(range(len(wanted)), key=lambda i: -lasting[i]):  # long ones first: they are hardest to place
        start_s = _place(lasting[i] + _SETTLE_S, busy, order.duration_s, random)
        if start_s is None:
            raise SpecError([_misfit(wanted, order.duration_s)])
        placed[i] = start_s
        busy.append((start_s - _GAP_S, start_s + lasting[i] + _SETTLE_S + _GAP_S))
    found, seen = [], dict.fromkeys(wanted, 0)
    for i in sorted(placed, key=lambda i: placed[i]):
        seen[wanted[i]] += 1
        start_ns = int((order.start_s + placed[i]) * NS_PER_S)
        found.append(Planned(wanted[i], seen[wanted[i]], start_ns, start_ns + int(lasting[i] * NS_PER_S),
                             spec.app.triggers[wanted[i]]))  # fmt: skip
    return found


def schedule_problems(spec: Spec, order: RecordingOrder) -> list[Problem]:
    """Why incidents or triggers find no place in a recording, before anything is made.

    What depends on the fit recording (relative and adaptive leaks) is known only when that is there.
    """
    if order.leaking and needs_baseline(spec.exfiltration):
        return []
    try:
        plan_triggers(spec, order)
        if order.leaking:
            world = World(allowed_edges(spec.app), partial(users_at, spec.load.of(order.name)))
            plan_incidents(spec.exfiltration, order.start_s, order.duration_s, order.entropy, world)
    except SpecError as error:
        return list(error.problems)
    return []


def _place(
    need_s: float, busy: list[tuple[float, float]], duration_s: float, random: np.random.Generator
) -> float | None:
    """A start, uniform over the grid's free places; None without any."""
    starts = np.arange(duration_s * LEAD_SHARE, duration_s - need_s, _STEP_S)
    free = np.ones(len(starts), dtype=bool)
    for begin, end in busy:
        free &= (starts + need_s <= begin) | (starts >= end)
    left = starts[free]
    return float(left[random.integers(len(left))]) if len(left) else None


def _misfit(wanted: list[str], duration_s: float) -> Problem:
    return Problem(
        "load.triggers", f"do not fit: {len(wanted)} triggers beside the incidents in {duration_s:g} s",
        "fewer triggers, or longer recordings",
        f"set evaluation.test_s={int(2 * duration_s)}, or load.trigger_separate=false",
    )  # fmt: skip
