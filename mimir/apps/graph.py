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
    """(client, server) pairs the application needs; `outside` stands for everybody beyond the cluster."""
    return frozenset((e.client, e.server) for e in app.edges)


def service_order(app: AppSpec) -> list[str]:
    """Services, each after all services that call it. Raises graphlib.CycleError when there is a cycle."""
    callers: dict[str, set[str]] = {name: set() for name in app.services}
    for client, server in sorted(allowed_edges(app)):
        if client in callers and server in callers:
            callers[server].add(client)
    return list(TopologicalSorter(callers).static_order())


def edge_cycle(app: AppSpec) -> list[str]:
    """A cycle among the allowed edges, or an empty list."""
    try:
        service_order(app)
    except CycleError as error:
        return [str(name) for name in error.args[1]][::-1]
    return []


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
