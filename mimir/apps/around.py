"""Is what happens around the users' calls consistent: timers, names, replication, scrapes, the usual leak paths?"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from difflib import get_close_matches

from mimir.apps.graph import allowed_edges
from mimir.errors import Problem
from mimir.spec.app import OUTSIDE, AppSpec

_RESOLVER = "kube-dns"


def check_around(app: AppSpec) -> Iterator[Problem]:
    """Problems of background, lookups, replication, scrapes and leak_paths."""
    yield from _timers(app)
    yield from _replication(app)
    yield from _scrapes(app)
    for scenario, path in app.leak_paths.items():
        for name in path:
            if name not in (*app.services, _RESOLVER, OUTSIDE):
                known = [*app.services, _RESOLVER, OUTSIDE]
                yield unknown(f"app.leak_paths.{scenario}", name, known, "service")


def unknown(where: str, name: str, known: Iterable[str], kind: str) -> Problem:
    """A name that does not exist, with the nearest that does."""
    names = sorted(known)
    close = get_close_matches(name, names, n=1)
    return Problem(
        where, f"names an unknown {kind} {name!r}", ", ".join(names), f"did you mean {close[0]!r}?" if close else ""
    )


def _timers(app: AppSpec) -> Iterator[Problem]:
    edges = allowed_edges(app)
    for number, back in enumerate(app.background):
        if (back.client, back.server) not in edges:
            yield Problem(f"app.background[{number}]", f"uses {back.client} → {back.server}, which no edge allows",
                          next="add it to app.edges")  # fmt: skip
        if back.every_s <= 0:
            yield Problem(f"app.background[{number}].every_s", f"must be > 0 (got {back.every_s:g})")
    for number, lookup in enumerate(app.lookups):
        for name in lookup.services:
            if name not in app.services:
                yield unknown(f"app.lookups[{number}].services", name, app.services, "service")
        if lookup.every_s <= 0:
            yield Problem(f"app.lookups[{number}].every_s", f"must be > 0 (got {lookup.every_s:g})")


def _replication(app: AppSpec) -> Iterator[Problem]:
    for number, spec in enumerate(app.replication):
        where = f"app.replication[{number}]"
        if spec.service not in app.services:
            yield unknown(f"{where}.service", spec.service, app.services, "service")
            continue
        if app.services[spec.service].kind == "external":
            yield Problem(f"{where}.service", f"is external, {spec.service} has no pods", "a service of the cluster")
        for name in spec.endpoints:
            if name not in app.services[spec.service].endpoints:
                kind = f"endpoint of {spec.service}"
                yield unknown(f"{where}.endpoints", name, app.services[spec.service].endpoints, kind)
        if spec.carries < 0:
            yield Problem(f"{where}.carries", f"must be ≥ 0 (got {spec.carries:g})")
        yield from _sizes(where, {"frame": spec.frame, "reply": spec.reply, "beat": spec.beat})
        yield from _clock(where, spec.port, spec.every_s)


def _scrapes(app: AppSpec) -> Iterator[Problem]:
    for number, spec in enumerate(app.scrapes):
        where = f"app.scrapes[{number}]"
        for key, name in (("client", spec.client), ("server", spec.server)):
            if name not in app.services:
                yield unknown(f"{where}.{key}", name, app.services, "service")
            elif app.services[name].kind == "external":
                yield Problem(f"{where}.{key}", f"is external, {name} has no pods", "a service of the cluster")
        yield from _sizes(where, {"request": spec.request, "response": spec.response})
        yield from _clock(where, spec.port, spec.every_s)


def _sizes(where: str, pairs: dict[str, tuple[float, float]]) -> Iterator[Problem]:
    for key, (median, sigma) in pairs.items():
        if median <= 0 or sigma < 0:
            yield Problem(f"{where}.{key}", f"must be [median > 0, sigma ≥ 0] (got [{median:g}, {sigma:g}])")


def _clock(where: str, port: int, every_s: float) -> Iterator[Problem]:
    if not 1 <= port <= 65_535:
        yield Problem(f"{where}.port", f"is no port (got {port})", "1 … 65535")
    if every_s <= 0:
        yield Problem(f"{where}.every_s", f"must be > 0 (got {every_s:g})")
