"""What is wrong with an exfiltration scenario for a given application: all of it, in words a user can act on."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from difflib import get_close_matches

from mimir.errors import Problem
from mimir.exfiltration.baseline import needs_baseline
from mimir.exfiltration.channels.tools import DNS_TOOLS, TOOLS
from mimir.exfiltration.pacing import Activity, night_problem, shape_problem
from mimir.exfiltration.paths import OUTSIDE, RESOLVERS, Carriage, carriages, leak_paths, resolved_paths
from mimir.exfiltration.plan import fit_problem, rate_problem
from mimir.exfiltration.validate_channels import Edges, alternatives, channel_problems, set_it
from mimir.spec.exfiltration import ExfiltrationSpec, PathClass

BY_DATAGRAMS = ("dns_tunnel", "icmp")  #: channels without connections, hence without relays
NO_RELAYS = (*BY_DATAGRAMS, *TOOLS)  #: channels that one pod acts out alone
NO_PORT = (*BY_DATAGRAMS, *(name for name, tool in TOOLS.items() if not tool.listens))
MOST_BRANCHES = 100
_TECHNIQUE = re.compile(r"T\d{4}(\.\d{3})?")


def problems(
    spec: ExfiltrationSpec,
    services: Collection[str],
    allowed_edges: Edges,
    duration_s: float | None = None,
    activity: Activity | None = None,
) -> list[Problem]:
    """Problems of a scenario; empty when it can be acted out.

    `allowed_edges` are (client, server) names, `outside` being the world. `duration_s` is the length of the test
    recording; None leaves out the check that the incidents fit. `activity` is its load; None leaves out the check for a night. The resolver need be neither a service nor an edge.
    """
    if spec.channel == "none":
        return list(_none(spec))
    edges = {*allowed_edges, *((service, resolver) for service in services for resolver in RESOLVERS)}
    given = list(_generated(spec, services, edges) if spec.paths else _path(spec, services, edges))
    found = [*given, *_technique(spec), *channel_problems(spec, edges), *_relative(spec, edges), *_schedule(spec)]
    if not given:
        found += _fan(spec, services, edges)
    pacing = rate_problem(spec)
    if pacing:
        found.append(pacing)
    elif duration_s is not None and not any(_schedule(spec)) and (misfit := fit_problem(spec, duration_s)):
        found.append(misfit)
    elif duration_s is not None and activity is not None and not any(_schedule(spec)):
        found += filter(None, [night_problem(spec, duration_s, activity)])
    return found


def _none(spec: ExfiltrationSpec) -> Iterator[Problem]:
    if spec.path_class is not PathClass.none:
        yield Problem(
            "exfiltration.path_class", f"is {spec.path_class}, but channel none leaks nothing", "none", set_it(spec)
        )


def _generated(spec: ExfiltrationSpec, services: Collection[str], edges: Edges) -> Iterator[Problem]:
    wanted = spec.paths
    assert wanted is not None
    for key in ("max_hops", "count"):
        if getattr(wanted, key) < 1:
            yield Problem(f"exfiltration.paths.{key}", f"must be ≥ 1 (got {getattr(wanted, key)})", "≥ 1", set_it(spec))
            return
    if wanted.store not in services:
        close = get_close_matches(wanted.store, services, n=1)
        got = f"names {wanted.store!r}, which the application does not have"
        hint = f"did you mean {close[0]}?" if close else set_it(spec)
        yield Problem("exfiltration.paths.store", got, ", ".join(sorted(services)), hint)
    elif spec.channel in NO_RELAYS or spec.path_class is not PathClass.allowed_chain:
        got = f"cannot be used with channel {spec.channel} and path_class {spec.path_class}"
        yield Problem("exfiltration.paths", got, "allowed_chain", "choose exfiltration=relay_chain")
    elif not resolved_paths(spec, edges):
        found = leak_paths([e for e in edges if not {*e} & {*RESOLVERS}], wanted.store, most=3)
        got = f"finds no way of direction {wanted.direction} from {wanted.store!r} in {wanted.max_hops} hops"
        allowed = "ways out: " + ("; ".join(" → ".join(path) for path in found) or "none from this service")
        yield Problem("exfiltration.paths", got, allowed, set_it(spec))


def _relative(spec: ExfiltrationSpec, edges: Edges) -> Iterator[Problem]:
    share = spec.rate_share_of_edge
    if share is not None and not 0 < share < float("inf"):
        yield Problem("exfiltration.rate_share_of_edge", f"must be > 0 (got {share:g})", "e.g. 0.01", set_it(spec))
    if needs_baseline(spec):
        for path in resolved_paths(spec, edges)[:1]:
            if len(path) > 1 and (path[1] in RESOLVERS or Carriage.new in carriages(path[:2], edges)):
                key = "pacing" if share is None else "rate_share_of_edge"
                got = f"needs benign traffic on {path[0]} → {path[1]}, which the application does not make"
                yield Problem(f"exfiltration.{key}", got, "a first hop along an allowed edge", set_it(spec))


def _schedule(spec: ExfiltrationSpec) -> Iterator[Problem]:
    for key in ("gap_s", "tail_s"):
        if not 0 <= getattr(spec, key) < float("inf"):
            yield Problem(f"exfiltration.{key}", f"must be ≥ 0 (got {getattr(spec, key):g})", "≥ 0", set_it(spec))
    shape = shape_problem(spec)
    if shape:
        yield shape


def _path(spec: ExfiltrationSpec, services: Collection[str], edges: Edges) -> Iterator[Problem]:
    where, path = "exfiltration.path", tuple(spec.path)
    known = sorted({*services, *RESOLVERS, OUTSIDE})
    unknown = [name for name in path if name not in known]
    for name in unknown:
        close = get_close_matches(name, known, n=1)
        hint = f"did you mean {close[0]}?" if close else set_it(spec)
        yield Problem(where, f"names {name!r}, which the application does not have", ", ".join(known), hint)
    if unknown:
        return
    if len(path) < 2 or path[-1] != OUTSIDE or OUTSIDE in path[:-1] or len(set(path)) != len(path):
        allowed = "at least two different services, the store first, outside last"
        yield Problem(where, f"is not a way out (got [{', '.join(path)}])", allowed, alternatives(spec, edges))
        return
    yield from _class(spec, path, edges)


def _class(spec: ExfiltrationSpec, path: tuple[str, ...], edges: Edges) -> Iterator[Problem]:
    sides = list(zip(path, path[1:], carriages(path, edges), strict=False))
    new = [f"{source} → {target}" for source, target, how in sides if how is Carriage.new]
    through_resolver = len(path) == 3 and path[1] in RESOLVERS
    asks_cluster = spec.channel in ("dns_tunnel", *DNS_TOOLS) and not (spec.dns and spec.dns.resolver == "direct")
    if (spec.path_class is PathClass.dns) != through_resolver or asks_cluster != through_resolver:
        got = f"[{', '.join(path)}] does not fit channel {spec.channel} and path_class {spec.path_class}"
        allowed = f"dns_tunnel (or a tool that speaks DNS) and dns with [store, {RESOLVERS[0]}, {OUTSIDE}], or neither of them"
        yield Problem("exfiltration.path", got, allowed, set_it(spec))
    elif spec.channel in NO_RELAYS and not through_resolver and len(path) != 2:
        got = f"[{', '.join(path)}] has relays, which channel {spec.channel} does not use"
        yield Problem("exfiltration.path", got, f"[store, {OUTSIDE}]", set_it(spec))
    elif spec.channel == "synthetic" and spec.path_class is not PathClass.allowed_chain:
        got = f"cannot be {spec.path_class} with channel synthetic, which adds to edges that are there"
        yield Problem("exfiltration.path_class", got, "allowed_chain", set_it(spec))
    elif (spec.path_class is PathClass.allowed_outside) != (spec.channel == "cloud_storage"):
        got = f"does not fit channel {spec.channel} (got {spec.path_class})"
        yield Problem("exfiltration.path_class", got, "allowed_outside with channel cloud_storage", set_it(spec))
    elif spec.path_class is PathClass.allowed_outside:
        inner = [hop for hop in new if not hop.endswith(OUTSIDE)]
        if inner or sides[-1][2] is Carriage.pull:
            got = f"must upload at the end and use allowed edges before: [{', '.join(path)}]"
            yield Problem("exfiltration.path", got, f"[store, {OUTSIDE}], or relays before {OUTSIDE}", set_it(spec))
    elif spec.path_class is PathClass.allowed_chain and new:
        text = f"has hops the application does not allow: {', '.join(new)}"
        yield Problem("exfiltration.path", text, "an allowed edge for each hop", alternatives(spec, edges))
    elif spec.path_class is PathClass.new_edge and not new:
        yield Problem("exfiltration.path_class", "is new_edge, but every hop is allowed", "allowed_chain", set_it(spec))
    elif spec.path_class is PathClass.none:
        text = f"is none, but channel is {spec.channel}"
        allowed = ", ".join(c for c in PathClass if c is not PathClass.none)
        yield Problem("exfiltration.path_class", text, allowed, set_it(spec))
    elif new and spec.channel not in NO_PORT and not 1 <= (spec.port or 0) <= 65_535:
        text = f"must be set for {', '.join(new)} (got {spec.port})"
        yield Problem("exfiltration.port", text, "1 … 65535", set_it(spec))


def _fan(spec: ExfiltrationSpec, services: Collection[str], edges: Edges) -> Iterator[Problem]:
    """Several branches, and pod addresses: both need relays."""
    paths = resolved_paths(spec, edges)
    relayed = spec.channel not in (*NO_RELAYS, "synthetic")
    if spec.address != "service" and not (relayed and all(len(path) > 2 for path in paths)):
        got = f"is {spec.address}, but no hop of channel {spec.channel} leads from pod to pod"
        yield Problem("exfiltration.address", got, "service, or a path with relays", set_it(spec))
    fan = spec.fan
    if fan is None:
        return
    if not relayed:
        yield Problem("exfiltration.fan", f"has no meaning for channel {spec.channel}", "null", set_it(spec))
    elif not 2 <= fan.branches <= MOST_BRANCHES:
        got = f"is out of range (got {fan.branches})"
        yield Problem("exfiltration.fan.branches", got, f"2 … {MOST_BRANCHES}", set_it(spec))
    elif fan.kind == "one_to_n" and any(len(path) < 3 for path in paths):
        got = "one_to_n needs relays between store and outside"
        yield Problem("exfiltration.fan", got, "a path of three or more", alternatives(spec, edges))
    for store in fan.stores:
        if store not in services:
            got = f"names {store!r}, which the application does not have"
            yield Problem("exfiltration.fan.stores", got, ", ".join(sorted(services)), set_it(spec))


def _technique(spec: ExfiltrationSpec) -> Iterator[Problem]:
    if not _TECHNIQUE.fullmatch(spec.technique):
        allowed = "an ATT&CK id: T1041, T1048.003 …"
        yield Problem("exfiltration.technique", f"is not a technique (got {spec.technique!r})", allowed, set_it(spec))
