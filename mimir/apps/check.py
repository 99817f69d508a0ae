"""Is an application model consistent? Every broken rule is reported, with the key that breaks it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from ipaddress import ip_address

from mimir.apps.around import check_around, unknown
from mimir.apps.change import check_change
from mimir.apps.graph import allowed_edges, call_cycle, split_target, uses
from mimir.errors import Problem
from mimir.spec.app import OUTSIDE, AppSpec, CallSpec, RepeatSpec, ServiceSpec, StepSpec, UsersSpec

_EPS = 1e-9
_PLACE = re.compile(r"{(\w+)}")


def check_application(app: AppSpec) -> list[Problem]:
    """Problems of an application whose types are right already; empty when packets can be made from it."""
    rules: tuple[Callable[[AppSpec], Iterator[Problem]], ...] = (
        _services,
        _endpoints,
        _edges,
        _calls,
        _reached,
        check_around,
        check_change,
        _users,
    )
    return [problem for rule in rules for problem in rule(app)]


def _services(app: AppSpec) -> Iterator[Problem]:
    taken: dict[int, str] = {}
    for name, service in app.services.items():
        where = f"app.services.{name}"
        if name == OUTSIDE:
            yield Problem(where, "is a reserved name", next="call the service something else")
        if service.replicas < 1:
            yield Problem(f"{where}.replicas", f"must be ≥ 1 (got {service.replicas})", "1, 2 …")
        for key in ("port", "target_port"):
            if not 1 <= getattr(service, key) <= 65_535:
                yield Problem(f"{where}.{key}", f"is no port (got {getattr(service, key)})", "1 … 65535")
        if service.probe and service.probe.every_s <= 0:
            yield Problem(f"{where}.probe.every_s", f"must be > 0 (got {service.probe.every_s:g})")
        if service.node_port is not None:
            if not 30_000 <= service.node_port <= 32_767:
                yield Problem(f"{where}.node_port", f"is out of range (got {service.node_port})", "30000 … 32767")
            if service.node_port in taken:
                yield Problem(f"{where}.node_port", f"{service.node_port} is taken by {taken[service.node_port]}")
            taken[service.node_port] = name
        yield from _external(where, service)
    for number, name in enumerate(app.sensitive):
        if name not in app.services:
            yield unknown(f"app.sensitive[{number}]", name, app.services, "service")


def _external(where: str, service: ServiceSpec) -> Iterator[Problem]:
    if service.kind != "external":
        return
    if not service.host or not service.address:
        yield Problem(
            where, "is external and needs both host and address", next="e.g. host: api.example.com, address: 192.0.2.10"
        )
        return
    try:
        ip_address(service.address)
    except ValueError:
        yield Problem(f"{where}.address", f"is no address (got {service.address!r})", "e.g. 192.0.2.10")


def _endpoints(app: AppSpec) -> Iterator[Problem]:
    for service, spec in app.services.items():
        for name, endpoint in spec.endpoints.items():
            where = f"app.services.{service}.endpoints.{name}"
            pairs = {
                "request": endpoint.request,
                "response.bytes": endpoint.response.bytes,
                "time_ms": endpoint.time_ms,
            }
            for key, (median, sigma) in pairs.items():
                if median <= 0 or sigma < 0:
                    yield Problem(f"{where}.{key}", f"must be [median > 0, sigma ≥ 0] (got [{median:g}, {sigma:g}])")
            times = endpoint.response.times
            if isinstance(times, str):
                if times not in app.collections:
                    yield unknown(f"{where}.response.times", times, app.collections, "collection")
            elif not 0 <= times[0] <= times[1]:
                yield Problem(f"{where}.response.times", f"must be 0 ≤ low ≤ high (got {list(times)})")
            if endpoint.response.carries < 0:
                yield Problem(f"{where}.response.carries", f"must be ≥ 0 (got {endpoint.response.carries:g})")
            if endpoint.inserts is not None and endpoint.inserts not in app.collections:
                yield unknown(f"{where}.inserts", endpoint.inserts, app.collections, "collection")


def _edges(app: AppSpec) -> Iterator[Problem]:
    seen: set[tuple[str, str]] = set()
    for number, edge in enumerate(app.edges):
        where = f"app.edges[{number}]"
        for key, name, known in (
            ("client", edge.client, [*app.services, OUTSIDE]),
            ("server", edge.server, [*app.services]),
        ):
            if name not in known:
                yield unknown(f"{where}.{key}", name, known, "service")
        if (edge.client, edge.server) in seen:
            yield Problem(where, f"repeats {edge.client} → {edge.server}", next="remove one of the two")
        seen.add((edge.client, edge.server))
        if edge.client in app.services and app.services[edge.client].kind != "app":
            yield Problem(
                where, f"lets {edge.client} open connections, which is no app service", next="swap client and server"
            )
        least = 0 if edge.connection == "per_request" else 1
        if edge.keep < least or (edge.connection in ("shared", "session") and edge.keep != 1) or edge.idle_s < 0:
            allowed = {"per_request": "keep ≥ 0", "kept": "keep ≥ 1"}.get(edge.connection, "keep = 1")
            yield Problem(where, f"has keep {edge.keep} and idle_s {edge.idle_s:g}", f"{allowed}, idle_s ≥ 0")
        if edge.connection == "caller" and edge.client == OUTSIDE:
            yield Problem(f"{where}.connection", "is caller, but nobody calls the users", "session, kept, per_request")
    loop = call_cycle(app)
    if loop:
        yield Problem("app.services", f"form a cycle: {' → '.join(loop)}", next="remove one call of it")


def _calls(app: AppSpec) -> Iterator[Problem]:
    edges = {(e.client, e.server) for e in app.edges}
    for use in uses(app):
        if use.client not in app.services:
            yield unknown(f"{use.where}.service", use.client, app.services, "service")
        if use.server not in app.services:
            yield unknown(f"{use.where}.to", use.server, app.services, "service")
        elif use.endpoint not in app.services[use.server].endpoints:
            yield unknown(
                f"{use.where}.to", use.endpoint, app.services[use.server].endpoints, f"endpoint of {use.server}"
            )
        elif (use.client, use.server) not in edges:
            yield Problem(use.where, f"calls {use.server} from {use.client}, which no edge allows",
                          next=f"add the edge to app.edges: client {use.client}, server {use.server}")  # fmt: skip
        if not 0 <= use.spec.probability <= 1:
            yield Problem(f"{use.where}.probability", f"must be in 0 … 1 (got {use.spec.probability:g})")
        low, high = use.spec.count if isinstance(use.spec, CallSpec) else use.spec.delay_ms
        if not 0 <= low <= high:
            yield Problem(use.where, f"has a range that is not 0 ≤ low ≤ high (got [{low:g}, {high:g}])")


def _reached(app: AppSpec) -> Iterator[Problem]:
    """Every store and service is used by what users do; every edge is used by something."""
    reached, used = {app.users.entry}, {(OUTSIDE, app.users.entry)}
    used |= {(b.client, b.server) for b in app.background}
    reached |= {b.server for b in app.background} | {s.client for s in app.scrapes}
    grown = True
    while grown:
        grown = False
        for use in uses(app):
            if split_target(use.cause)[0] in reached and use.spec.probability > 0:
                new = {use.client, use.server} - reached
                reached |= new
                grown |= bool(new)
                used.add((use.client, use.server))
    for name in app.services:
        if name not in reached:
            yield Problem(f"app.services.{name}", f"is not reached from {app.users.entry} by any call",
                          next=f"call it from an endpoint of {', '.join(sorted(reached & set(app.services)))}")  # fmt: skip
    for number, edge in enumerate(app.edges):
        if (edge.client, edge.server) not in used:
            yield Problem(
                f"app.edges[{number}]",
                f"{edge.client} → {edge.server} is used by no call",
                next="remove it or add the call",
            )


def _users(app: AppSpec) -> Iterator[Problem]:
    users = app.users
    if users.entry not in app.services:
        yield unknown("app.users.entry", users.entry, app.services, "service")
        return
    entry = app.services[users.entry]
    if entry.node_port is None:
        yield Problem(
            f"app.services.{users.entry}.node_port", "is missing: users reach the entry service by it", "30000 … 32767"
        )
    if (OUTSIDE, users.entry) not in allowed_edges(app):
        yield Problem("app.edges", f"lacks {OUTSIDE} → {users.entry}", next="add it: users must get in")
    for name, items in users.behaviours.items():
        where = f"app.users.behaviours.{name}"
        if not items:
            yield Problem(where, "has no steps")
        for step in steps_of(items):
            if step.request not in entry.endpoints:
                yield unknown(where, step.request, entry.endpoints, f"endpoint of {users.entry}")
            if not 0 <= step.wait_s[0] <= step.wait_s[1] or not 0 <= step.probability <= 1:
                yield Problem(
                    where,
                    f"has a bad wait or probability at {step.request} (got {list(step.wait_s)}, {step.probability:g})",
                )
        for item in items:
            if isinstance(item, RepeatSpec) and not 0 <= item.repeat[0] <= item.repeat[1]:
                yield Problem(f"{where}.repeat", f"must be 0 ≤ low ≤ high (got {list(item.repeat)})")
    for where, mix in {"mix": users.mix, **{f"mixes.{name}": mix for name, mix in users.mixes.items()}}.items():
        yield from check_mix(f"app.users.{where}", mix, users.behaviours)
    yield from _session(users, entry)


def _session(users: UsersSpec, entry: ServiceSpec) -> Iterator[Problem]:
    """Does what a session knows fill every `{…}` that users ask for, and nothing else?"""
    asked = {name for endpoint in entry.endpoints.values() for name in _PLACE.findall(endpoint.action)}
    for name in sorted(asked - set(users.session)):
        yield Problem(f"app.users.session.{name}", f"is missing: actions of {users.entry} have {{{name}}}",
                      next="add it, e.g. {per: request, values: []}")  # fmt: skip
    for name in sorted(set(users.session) - asked):
        yield Problem(f"app.users.session.{name}", f"fills nothing: no action of {users.entry} has {{{name}}}",
                      next="remove it")  # fmt: skip


def check_mix(where: str, mix: dict[str, float], behaviours: Iterable[str]) -> Iterator[Problem]:
    """Problems of shares of behaviours: unknown names, negative shares, a sum other than 1."""
    names = list(behaviours)
    for name, share in mix.items():
        if name not in names:
            yield unknown(where, name, names, "behaviour")
        if share < 0:
            yield Problem(f"{where}.{name}", f"must be ≥ 0 (got {share:g})")
    if abs(sum(mix.values()) - 1) > _EPS:
        yield Problem(where, f"must add up to 1 (got {sum(mix.values()):g})")


def steps_of(items: list[StepSpec | RepeatSpec]) -> Iterator[StepSpec]:
    """All steps of a behaviour, repeated ones once."""
    for item in items:
        if isinstance(item, RepeatSpec):
            yield from item.steps
        else:
            yield item
