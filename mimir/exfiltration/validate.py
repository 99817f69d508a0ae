"""What is wrong with an exfiltration scenario for a given application: all of it, in words a user can act on."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from dataclasses import asdict
from difflib import get_close_matches

from mimir.errors import Problem
from mimir.exfiltration.baseline import needs_baseline
from mimir.exfiltration.channels import slow_headers
from mimir.exfiltration.channels.dns_tunnel import SHORTEST_LABEL, name_capacity
from mimir.exfiltration.dns_messages import LABEL_BYTES, NAME_BYTES
from mimir.exfiltration.pacing import Activity, night_problem, shape_problem
from mimir.exfiltration.paths import OUTSIDE, RESOLVERS, Carriage, carriages, leak_paths, resolved_paths
from mimir.exfiltration.plan import fit_problem, rate_problem
from mimir.spec.exfiltration import DnsTunnelSpec, ExfiltrationSpec, HeadersSpec, PathClass

_MAIL = re.compile(r"[a-z0-9._-]+@[a-z0-9.-]+")
Edges = Collection[tuple[str, str]]
_TECHNIQUE = re.compile(r"T\d{4}(\.\d{3})?")
_DOMAIN = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*")


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
    given = _generated(spec, edges) if spec.paths else _path(spec, services, edges)
    found = [*given, *_technique(spec), *_channel(spec), *_blocks(spec), *_relative(spec, edges), *_schedule(spec)]
    found += [*_mail(spec, edges), *_stuffing(spec, edges)]
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
            "exfiltration.path_class", f"is {spec.path_class}, but channel none leaks nothing", "none", _set(spec)
        )


def _generated(spec: ExfiltrationSpec, edges: Edges) -> Iterator[Problem]:
    wanted = spec.paths
    assert wanted is not None
    for key in ("max_hops", "count"):
        if getattr(wanted, key) < 1:
            yield Problem(f"exfiltration.paths.{key}", f"must be ≥ 1 (got {getattr(wanted, key)})", "≥ 1", _set(spec))
            return
    if spec.channel == "dns_tunnel" or spec.path_class is not PathClass.allowed_chain:
        got = f"cannot be used with channel {spec.channel} and path_class {spec.path_class}"
        yield Problem("exfiltration.paths", got, "allowed_chain", "choose exfiltration=relay_chain")
    elif not resolved_paths(spec, edges):
        found = leak_paths([e for e in edges if not {*e} & {*RESOLVERS}], wanted.store, most=3)
        got = f"finds no way of direction {wanted.direction} from {wanted.store!r} in {wanted.max_hops} hops"
        allowed = "ways out: " + ("; ".join(" → ".join(path) for path in found) or "none from this service")
        yield Problem("exfiltration.paths", got, allowed, _set(spec))


def _relative(spec: ExfiltrationSpec, edges: Edges) -> Iterator[Problem]:
    share = spec.rate_share_of_edge
    if share is not None and not 0 < share < float("inf"):
        yield Problem("exfiltration.rate_share_of_edge", f"must be > 0 (got {share:g})", "e.g. 0.01", _set(spec))
    if needs_baseline(spec):
        for path in resolved_paths(spec, edges)[:1]:
            if len(path) > 1 and (path[1] in RESOLVERS or Carriage.new in carriages(path[:2], edges)):
                key = "pacing" if share is None else "rate_share_of_edge"
                got = f"needs benign traffic on {path[0]} → {path[1]}, which the application does not make"
                yield Problem(f"exfiltration.{key}", got, "a first hop along an allowed edge", _set(spec))


def _schedule(spec: ExfiltrationSpec) -> Iterator[Problem]:
    for key in ("gap_s", "tail_s"):
        if not 0 <= getattr(spec, key) < float("inf"):
            yield Problem(f"exfiltration.{key}", f"must be ≥ 0 (got {getattr(spec, key):g})", "≥ 0", _set(spec))
    shape = shape_problem(spec)
    if shape:
        yield shape


def _path(spec: ExfiltrationSpec, services: Collection[str], edges: Edges) -> Iterator[Problem]:
    where, path = "exfiltration.path", tuple(spec.path)
    known = sorted({*services, *RESOLVERS, OUTSIDE})
    unknown = [name for name in path if name not in known]
    for name in unknown:
        close = get_close_matches(name, known, n=1)
        hint = f"did you mean {close[0]}?" if close else _set(spec)
        yield Problem(where, f"names {name!r}, which the application does not have", ", ".join(known), hint)
    if unknown:
        return
    if len(path) < 2 or path[-1] != OUTSIDE or OUTSIDE in path[:-1] or len(set(path)) != len(path):
        allowed = "at least two different services, the store first, outside last"
        yield Problem(where, f"is not a way out (got [{', '.join(path)}])", allowed, _alternatives(spec, edges))
        return
    yield from _class(spec, path, edges)


def _class(spec: ExfiltrationSpec, path: tuple[str, ...], edges: Edges) -> Iterator[Problem]:
    sides = zip(path, path[1:], carriages(path, edges), strict=False)
    new = [f"{source} → {target}" for source, target, how in sides if how is Carriage.new]
    through_resolver = len(path) == 3 and path[1] in RESOLVERS
    if (spec.path_class is PathClass.dns) != through_resolver or (spec.channel == "dns_tunnel") != through_resolver:
        got = f"[{', '.join(path)}] does not fit channel {spec.channel} and path_class {spec.path_class}"
        allowed = f"dns_tunnel and dns with [store, {RESOLVERS[0]}, {OUTSIDE}], or neither of them"
        yield Problem("exfiltration.path", got, allowed, _set(spec))
    elif spec.path_class is PathClass.allowed_chain and new:
        text = f"has hops the application does not allow: {', '.join(new)}"
        yield Problem("exfiltration.path", text, "an allowed edge for each hop", _alternatives(spec, edges))
    elif spec.path_class is PathClass.new_edge and not new:
        yield Problem("exfiltration.path_class", "is new_edge, but every hop is allowed", "allowed_chain", _set(spec))
    elif spec.path_class is PathClass.none:
        text = f"is none, but channel is {spec.channel}"
        yield Problem("exfiltration.path_class", text, "new_edge, allowed_chain, dns, response_stuffing", _set(spec))
    elif new and spec.path_class is PathClass.new_edge and (spec.port is None or not 1 <= spec.port <= 65_535):
        text = f"must be set for {', '.join(new)} (got {spec.port})"
        yield Problem("exfiltration.port", text, "1 … 65535", _set(spec))


def _technique(spec: ExfiltrationSpec) -> Iterator[Problem]:
    if not _TECHNIQUE.fullmatch(spec.technique):
        allowed = "an ATT&CK id: T1041, T1048.003 …"
        yield Problem("exfiltration.technique", f"is not a technique (got {spec.technique!r})", allowed, _set(spec))


def _channel(spec: ExfiltrationSpec) -> Iterator[Problem]:
    if spec.channel != "dns_tunnel":
        if spec.dns is not None:
            yield Problem("exfiltration.dns", f"has no meaning for channel {spec.channel}", "null", _set(spec))
    elif spec.dns is None:
        yield Problem("exfiltration.dns", "must say how bytes become query names", "domain, record_type …", _set(spec))
    else:
        yield from _dns(spec, spec.dns)


def _blocks(spec: ExfiltrationSpec) -> Iterator[Problem]:
    for name, channel in {
        "tls": "https",
        "smtp": "smtp",
        "headers": "slow_headers",
        "stuffing": "response_stuffing",
    }.items():
        given = getattr(spec, name) is not None
        if given and spec.channel != channel:
            yield Problem(f"exfiltration.{name}", f"has no meaning for channel {spec.channel}", "null", _set(spec))
        elif spec.channel == channel and not given:
            yield Problem(f"exfiltration.{name}", f"must be set for channel {channel}", f"its {name} keys", _set(spec))
    blocks = [(name, block) for name in ("tls", "smtp", "headers", "stuffing") if (block := getattr(spec, name))]
    counts = {f"{name}.{key}": value for name, block in blocks for key, value in asdict(block).items()
              if type(value) is int}  # fmt: skip
    for key, value in counts.items():
        if value < 1:
            yield Problem(f"exfiltration.{key}", f"is out of range (got {value})", "≥ 1", _set(spec))
    if spec.channel == "slow_headers" and spec.headers is not None and spec.headers.value_bytes >= 1:
        yield from _headers(spec, spec.headers)


def _headers(spec: ExfiltrationSpec, headers: HeadersSpec) -> Iterator[Problem]:
    longest = slow_headers.HEADER_BYTES - slow_headers.NAME_BYTES
    if headers.value_bytes > longest:
        text = f"is out of range (got {headers.value_bytes})"
        yield Problem("exfiltration.headers.value_bytes", text, f"1 … {longest}", _set(spec))
    elif spec.bytes_per_message > slow_headers.capacity(headers):
        text = f"does not fit into a header of {headers.value_bytes} bytes (got {spec.bytes_per_message})"
        yield Problem("exfiltration.bytes_per_message", text, f"≤ {slow_headers.capacity(headers)}", _set(spec))


def _stuffing(spec: ExfiltrationSpec, edges: Edges) -> Iterator[Problem]:
    if (spec.channel == "response_stuffing") != (spec.path_class is PathClass.response_stuffing):
        text = f"does not fit channel {spec.channel} (got {spec.path_class})"
        yield Problem("exfiltration.path_class", text, "response_stuffing with channel response_stuffing", _set(spec))
    elif spec.channel == "response_stuffing" and {*carriages(tuple(spec.path), edges)} != {Carriage.pull}:
        text = f"has hops that are not replies of an allowed edge: [{', '.join(spec.path)}]"
        yield Problem("exfiltration.path", text, "allowed edges against their direction", _alternatives(spec, edges))


def _mail(spec: ExfiltrationSpec, edges: Edges) -> Iterator[Problem]:
    if spec.channel == "smtp" and Carriage.pull in carriages(tuple(spec.path), edges):
        text = f"has hops that only the receiver may open: [{', '.join(spec.path)}]"
        yield Problem("exfiltration.path", text, "hops that the sender of the mail opens", _set(spec))
    for key in ("sender", "recipient") if spec.smtp else ():
        if not _MAIL.fullmatch(getattr(spec.smtp, key)):
            text = f"is not a mail address (got {getattr(spec.smtp, key)!r})"
            yield Problem(f"exfiltration.smtp.{key}", text, "name@domain", _set(spec))


def _dns(spec: ExfiltrationSpec, dns: DnsTunnelSpec) -> Iterator[Problem]:
    if not SHORTEST_LABEL <= dns.label_bytes <= LABEL_BYTES:
        allowed = f"{SHORTEST_LABEL} … {LABEL_BYTES}"
        yield Problem("exfiltration.dns.label_bytes", f"is out of range (got {dns.label_bytes})", allowed, _set(spec))
    if not _DOMAIN.fullmatch(dns.domain) or any(len(label) > LABEL_BYTES for label in dns.domain.split(".")):
        allowed = "lower-case labels of letters, digits and hyphens"
        yield Problem("exfiltration.dns.domain", f"is not a domain (got {dns.domain!r})", allowed, _set(spec))
    if dns.name_bytes > NAME_BYTES:
        allowed = f"≤ {NAME_BYTES}"
        yield Problem("exfiltration.dns.name_bytes", f"is out of range (got {dns.name_bytes})", allowed, _set(spec))
    elif dns.label_bytes > 0 and name_capacity(dns) < 1:
        text = f"leaves no room for data under {dns.domain} (got {dns.name_bytes})"
        yield Problem("exfiltration.dns.name_bytes", text, f"longer, up to {NAME_BYTES}", _set(spec))


def _alternatives(spec: ExfiltrationSpec, edges: Edges) -> str:
    without_resolvers = [edge for edge in edges if edge[0] not in RESOLVERS and edge[1] not in RESOLVERS]
    found = leak_paths(without_resolvers, spec.path[0], most=3) if spec.path else []
    if not found:
        return _set(spec)
    return "choose one: " + " or ".join(f"exfiltration.path=[{','.join(path)}]" for path in found)


def _set(spec: ExfiltrationSpec) -> str:
    return f"set it in conf/exfiltration/{spec.name}.yaml or on the command line"
