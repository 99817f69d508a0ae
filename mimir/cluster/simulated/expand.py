"""User requests → all calls they cause: who calls whom when, how long it takes, how big request and reply are.

Three passes over one table: calls are appended breadth first (children stand side by side behind their parent), replies
and durations are added up from the leaves, and starting times are handed down from the roots.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from mimir.apps.calls import CallTrees
from mimir.cluster.simulated.tables import (
    CHILDREN,
    CLIENT,
    DURATION,
    EDGE,
    ENDPOINT,
    FIRST_CHILD,
    PARENT,
    PIN,
    REQUEST,
    RESPONSE,
    SPEC,
    START,
    Floats,
    Ints,
)  # fmt: skip
from mimir.jit import kernel
from mimir.load.draws import State, below, between, lognormal, normal, uniform

_MINUTE_NS = 60_000_000_000
TRIGGER = -1  # the stage of a call nobody waits for


class Model(NamedTuple):
    """CallTrees as the loops take them; see there."""

    service: Ints
    request: Floats
    response: Floats
    times: Ints
    carries: Floats
    busy: Floats
    inserts: Ints
    first_call: Ints
    stage: Ints
    target: Ints
    edge: Ints
    probability: Floats
    counts: Ints
    delay: Floats


class Content(NamedTuple):
    """How sizes drift: normal numbers per (minute, service), their share of the variance, where minute 0 begins."""

    common: Floats
    share: float
    begin_ns: int


def model_of(trees: CallTrees) -> Model:
    """The columns the loops need."""
    return Model(*(getattr(trees, name) for name in Model._fields))


@kernel(allocates=True)
def _size(log_median: float, sigma: float, common: float, share: float, random: State) -> float:
    if sigma == 0.0:
        return math.exp(log_median)
    return math.exp(log_median + sigma * (math.sqrt(1.0 - share) * normal(random) + math.sqrt(share) * common))


@kernel(allocates=True)
def _fill(row: Ints, at_ns: int, model: Model, collections: Ints, content: Content, random: State) -> None:
    """Own sizes and own time of one call that begins at about `at_ns`."""
    e = row[ENDPOINT]
    low, high = model.times[e, 0], model.times[e, 1]
    times = collections[high] if low < 0 else low + below(random, high - low + 1)
    minute = min(max((at_ns - content.begin_ns) // _MINUTE_NS, 0), len(content.common) - 1)
    common = content.common[minute, model.service[e]]
    row[REQUEST] = max(1, int(lognormal(random, model.request[e, 0], model.request[e, 1]) + 0.5))
    row[RESPONSE] = int(times * _size(model.response[e, 0], model.response[e, 1], common, content.share, random) + 0.5)
    row[DURATION] = int(lognormal(random, model.busy[e, 0], model.busy[e, 1]))
    if model.inserts[e] >= 0:
        collections[model.inserts[e]] += 1


@kernel(allocates=True)
def _append_children(calls: Ints, i: int, used: int, model: Model, random: State) -> int:
    """Draw which calls call `i` makes and append them; returns the new number of rows."""
    e = calls[i, ENDPOINT]
    calls[i, FIRST_CHILD] = used
    for c in range(model.first_call[e], model.first_call[e + 1]):
        if model.probability[c] < 1.0 and uniform(random) >= model.probability[c]:
            continue
        for _ in range(model.counts[c, 0] + below(random, model.counts[c, 1] - model.counts[c, 0] + 1)):
            calls[used, ENDPOINT], calls[used, EDGE] = model.target[c], model.edge[c]
            calls[used, PARENT], calls[used, SPEC] = i, c
            calls[used, CLIENT] = calls[used, PIN] = -1
            used += 1
    calls[i, CHILDREN] = used - calls[i, FIRST_CHILD]
    return used


@kernel(allocates=True)
def _stages(calls: Ints, i: int, model: Model, overhead: Ints, begin_ns: int, gap_ns: int) -> tuple[int, int]:
    """Give START to the children of call `i`, whose first stage may begin at `begin_ns`, stages `gap_ns` apart.

    Returns when the last stage is over (without a gap behind it) and the number of stages.
    """
    stages, stage, spec = 0, TRIGGER, -1
    open_ns = over_ns = at_ns = begin_ns
    for j in range(calls[i, FIRST_CHILD], calls[i, FIRST_CHILD] + calls[i, CHILDREN]):
        c = calls[j, SPEC]
        if model.stage[c] == TRIGGER:
            continue
        if model.stage[c] != stage:
            open_ns = over_ns + (gap_ns if stages > 0 else 0)
            stage, spec, stages = model.stage[c], -1, stages + 1
        if c != spec:
            spec, at_ns = c, open_ns
        calls[j, START] = at_ns
        at_ns += overhead[calls[j, EDGE]] + calls[j, DURATION]
        over_ns = max(over_ns, at_ns)
    return over_ns, stages


@kernel(allocates=True)
def _add_up(calls: Ints, i: int, model: Model, overhead: Ints) -> None:
    """Reply and duration of call `i`, those of its children being complete."""
    carried = 0
    for j in range(calls[i, FIRST_CHILD], calls[i, FIRST_CHILD] + calls[i, CHILDREN]):
        if model.stage[calls[j, SPEC]] != TRIGGER:
            carried += calls[j, RESPONSE]
    calls[i, RESPONSE] = max(1, calls[i, RESPONSE] + int(model.carries[calls[i, ENDPOINT]] * carried + 0.5))
    calls[i, DURATION] += _stages(calls, i, model, overhead, 0, 0)[0]


@kernel(allocates=True)
def _hand_down(calls: Ints, i: int, model: Model, overhead: Ints, random: State) -> None:
    """Starting times of the children of call `i`: its own time lies evenly before, between and after the stages."""
    arrived_ns = calls[i, START] + overhead[calls[i, EDGE]]
    waited_ns, stages = _stages(calls, i, model, overhead, 0, 0)
    gap_ns = (calls[i, DURATION] - waited_ns) // (stages + 1)
    _stages(calls, i, model, overhead, arrived_ns + gap_ns, gap_ns)
    for j in range(calls[i, FIRST_CHILD], calls[i, FIRST_CHILD] + calls[i, CHILDREN]):
        c = calls[j, SPEC]
        if model.stage[c] == TRIGGER:
            delay_ns = int(between(random, model.delay[c, 0], model.delay[c, 1]))
            calls[j, START] = arrived_ns + calls[i, DURATION] + delay_ns


@kernel(allocates=True)
def expand(
    calls: Ints, roots: int, model: Model, collections: Ints, content: Content, overhead: Ints, random: State
) -> int:
    """Complete `calls`, whose first `roots` rows have START, ENDPOINT, EDGE, CLIENT; returns the number of rows used.

    `calls` must have room for all (`CallTrees.largest` summed over the roots). `collections` grows by what is inserted.
    `overhead` is the usual time (ns) from beginning a call to the request being whole, per edge.
    """
    used, i = roots, 0
    root_ns = np.empty(len(calls), dtype=np.int64)  # when the request began that a call belongs to
    while i < used:
        root_ns[i] = calls[i, START] if i < roots else root_ns[calls[i, PARENT]]
        _fill(calls[i], root_ns[i], model, collections, content, random)
        used = _append_children(calls, i, used, model, random)
        i += 1
    for i in range(used - 1, -1, -1):
        _add_up(calls, i, model, overhead)
    for i in range(used):
        _hand_down(calls, i, model, overhead, random)
    return used
