"""The application's call trees as arrays: what an endpoint costs, and what it calls in turn."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from mimir.apps.graph import split_target
from mimir.spec.app import AppSpec, EndpointSpec

Floats: TypeAlias = NDArray[np.float64]
Ints: TypeAlias = NDArray[np.int64]
_MS = 1e6  # ns


@dataclass(frozen=True)
class CallTrees:
    """Endpoints (E) and the calls they make (C) as columns. Logarithms are natural, times ns.

    Calls of endpoint `e` are rows `first_call[e] … first_call[e + 1] - 1`, in order of their stage; a stage of -1 is a
    trigger: it starts after the reply and nobody waits for it.
    """

    endpoints: tuple[str, ...]  # `service:endpoint`
    service: Ints  # (E,) index into AppSpec.services
    request: Floats  # (E, 2) log median, sigma
    response: Floats  # (E, 2)
    times: Ints  # (E, 2) low and high factor of the response; low = -1: `high` is a collection
    carries: Floats  # (E,)
    busy: Floats  # (E, 2) log median ns, sigma: the service's own time
    inserts: Ints  # (E,) collection that grows, or -1
    pushed: NDArray[np.bool_]  # (E,) the reply comes first
    first_call: Ints  # (E + 1,)
    stage: Ints  # (C,)
    target: Ints  # (C,) endpoint
    edge: Ints  # (C,) index into AppSpec.edges
    probability: Floats  # (C,)
    counts: Ints  # (C, 2)
    delay: Floats  # (C, 2) ns, triggers only
    largest: Ints  # (E,) most calls one request can cause, itself included


def compile_calls(app: AppSpec) -> CallTrees:
    """Call trees of a checked application (see `check_application`)."""
    endpoints = [
        (f"{s}:{e}", endpoint) for s, service in app.services.items() for e, endpoint in service.endpoints.items()
    ]
    number = {name: i for i, (name, _) in enumerate(endpoints)}
    services = {name: i for i, name in enumerate(app.services)}
    collections = {name: i for i, name in enumerate(app.collections)}
    first, rows = [0], []
    for name, endpoint in endpoints:
        rows += _rows(
            split_target(name)[0], endpoint, number, {(e.client, e.server): i for i, e in enumerate(app.edges)}
        )
        first.append(len(rows))
    specs = [endpoint for _, endpoint in endpoints]
    table = np.array(rows, dtype=np.float64).reshape(-1, 8)
    return CallTrees(
        endpoints=tuple(number),
        service=np.array([services[split_target(name)[0]] for name in number]),
        request=np.array([_log(e.request) for e in specs]),
        response=np.array([_log(e.response.bytes) for e in specs]),
        times=np.array([_times(e, collections) for e in specs]),
        carries=np.array([e.response.carries for e in specs]),
        busy=np.array([_log(e.time_ms, _MS) for e in specs]),
        inserts=np.array([collections[e.inserts] if e.inserts else -1 for e in specs]),
        pushed=np.array([e.pushed for e in specs]),
        first_call=np.array(first),
        stage=table[:, 0].astype(np.int64),
        target=table[:, 1].astype(np.int64),
        edge=table[:, 2].astype(np.int64),
        probability=table[:, 3].copy(),
        counts=table[:, 4:6].astype(np.int64),
        delay=table[:, 6:8].copy(),
        largest=np.array(_largest(app, list(number))),
    )


def _rows(
    service: str, endpoint: EndpointSpec, number: dict[str, int], edges: dict[tuple[str, str], int]
) -> list[list[float]]:
    rows: list[list[float]] = []
    for stage, calls in enumerate(endpoint.calls):
        for c in calls:
            edge = edges[service, split_target(c.to)[0]]
            rows.append([stage, number[c.to], edge, c.probability, *c.count, 0, 0])
    for t in endpoint.triggers:
        edge = edges[t.service, split_target(t.to)[0]]
        rows.append([-1, number[t.to], edge, t.probability, 1, 1, t.delay_ms[0] * _MS, t.delay_ms[1] * _MS])
    return rows


def _log(pair: tuple[float, float], unit: float = 1.0) -> tuple[float, float]:
    return math.log(pair[0] * unit), pair[1]


def _times(endpoint: EndpointSpec, collections: dict[str, int]) -> tuple[int, int]:
    times = endpoint.response.times
    return (-1, collections[times]) if isinstance(times, str) else times


def _largest(app: AppSpec, names: list[str]) -> list[int]:
    @cache
    def size(name: str) -> int:
        service, endpoint = split_target(name)
        spec = app.services[service].endpoints[endpoint]
        called = sum(c.count[1] * size(c.to) for stage in spec.calls for c in stage)
        return 1 + called + sum(size(t.to) for t in spec.triggers)

    return [size(name) for name in names]
