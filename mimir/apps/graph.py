"""Which service may talk to which: the application's edges as a graph, and the calls that use them."""

from __future__ import annotations

from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from typing import NamedTuple

from mimir.spec.app import AppSpec, CallSpec, TriggerSpec


class Use(NamedTuple):
    """A call or trigger of the model: where it stands, what causes it, who opens the connection, what is called."""

    where: str
    cause: str  # `service:endpoint`
    client: str
    server: str
    endpoint: str
    spec: CallSpec | TriggerSpec


def split_target(target: str) -> tuple[str, str]:
    """`service:endpoint` in two; without a colon the endpoint is empty.

    >>> split_target("user-db:find_card")
    ('user-db', 'find_card')
    """
    service, _, endpoint = target.partition(":")
    return service, endpoint


def uses(app: AppSpec) -> Iterator[Use]:
    """Every call and trigger of every endpoint."""
    for service, spec in app.services.items():
        for name, endpoint in spec.endpoints.items():
            where, cause = f"app.services.{service}.endpoints.{name}", f"{service}:{name}"
            for stage, calls in enumerate(endpoint.calls):
                for number, call in enumerate(calls):
                    yield Use(f"{where}.calls[{stage}][{number}]", cause, service, *split_target(call.to), call)
            for number, trigger in enumerate(endpoint.triggers):
                yield Use(f"{where}.triggers[{number}]", cause, trigger.service, *split_target(trigger.to), trigger)


def allowed_edges(app: AppSpec) -> frozenset[tuple[str, str]]:
    """(client, server) pairs the application needs; `outside` stands for everybody beyond the cluster.

    A service that replicates among its pods is its own client.
    """
    called = ((e.client, e.server) for e in app.edges)
    peers = ((r.service, r.service) for r in app.replication)
    return frozenset([*called, *peers, *((s.client, s.server) for s in app.scrapes)])


def circles(app: AppSpec) -> dict[str, str]:
    """Each service's circle: services that can reach each other along allowed edges share the name of one of them."""
    callees: dict[str, list[str]] = {name: [] for name in app.services}
    for client, server in sorted(allowed_edges(app)):
        if client in callees and server in callees:
            callees[client].append(server)
    reach = {name: _reach(callees, name) for name in callees}
    return {name: min([name, *(other for other in reach[name] if name in reach[other])]) for name in callees}


def _reach(callees: dict[str, list[str]], name: str) -> set[str]:
    found, waiting = set(callees[name]), list(callees[name])
    while waiting:
        new = set(callees[waiting.pop()]) - found
        found |= new
        waiting += new
    return found


def service_order(app: AppSpec) -> list[str]:
    """Services, each after all services that call it; those that call each other in a circle stand side by side."""
    circle = circles(app)
    callers: dict[str, dict[str, None]] = {circle[name]: {} for name in app.services}
    for client, server in sorted(allowed_edges(app)):
        if client in circle and server in circle and circle[client] != circle[server]:
            callers[circle[server]][circle[client]] = None
    order = TopologicalSorter(callers).static_order()
    return [name for first in order for name in app.services if circle[name] == first]


class Turn(NamedTuple):
    """Calls that can be played together: those of an edge, in a circle only those of endpoints at one depth."""

    edge: int  # index into AppSpec.edges
    depth: int  # of the calling endpoint, or ANY


ANY = -1


def play_order(app: AppSpec) -> list[Turn]:
    """Turns in an order in which every call comes after the call that causes it (triggers excepted)."""
    circle, depth = circles(app), depths(app)
    place = {circle[name]: i for i, name in reversed([*enumerate(service_order(app), start=1)])}
    turns: list[tuple[tuple[int, bool, int, int], Turn]] = []
    for number, edge in enumerate(app.edges):
        inner = edge.client in circle and circle[edge.client] == circle.get(edge.server)
        rank = place[circle[edge.client]] if edge.client in circle else 0
        pair = (edge.client, edge.server)
        steps = sorted({depth[use.cause] for use in uses(app) if (use.client, use.server) == pair}) if inner else [ANY]
        turns += [((rank, not inner, step, number), Turn(number, step)) for step in steps]
    return [turn for _, turn in sorted(turns)]


def depths(app: AppSpec) -> dict[str, int]:
    """Most calls that lead to each `service:endpoint`, 0 for those nobody calls. Raises CycleError if there is no end."""
    causes: dict[str, list[str]] = {f"{s}:{e}": [] for s, spec in app.services.items() for e in spec.endpoints}
    for use in uses(app):
        causes[f"{use.server}:{use.endpoint}"].append(use.cause)
    found: dict[str, int] = {}
    for name in TopologicalSorter(causes).static_order():
        found[name] = max((found[cause] + 1 for cause in causes[name]), default=0)
    return found


def call_cycle(app: AppSpec) -> list[str]:
    """Endpoints (`service:endpoint`) that cause each other without end, triggers included, or an empty list."""
    causes: dict[str, set[str]] = {}
    for use in uses(app):
        causes.setdefault(f"{use.server}:{use.endpoint}", set()).add(use.cause)
    try:
        TopologicalSorter(causes).prepare()
    except CycleError as error:
        return [str(name) for name in error.args[1]][::-1]
    return []
