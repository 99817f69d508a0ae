"""What is wrong with the parameters of a channel: each block belongs to its channel, its figures to their ranges."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from dataclasses import asdict
from ipaddress import IPv4Address

from mimir.errors import Problem
from mimir.exfiltration.channels import icmp, slow_headers
from mimir.exfiltration.channels.dns_tunnel import SHORTEST_LABEL, name_capacity
from mimir.exfiltration.channels.tls_bytes import LEAST_HELLO_BYTES
from mimir.exfiltration.channels.tools import DNS_TOOLS
from mimir.exfiltration.dns_messages import LABEL_BYTES, NAME_BYTES
from mimir.exfiltration.paths import RESOLVERS, Carriage, carriages, leak_paths
from mimir.spec.exfiltration import CloudSpec, DnsTunnelSpec, ExfiltrationSpec, HeadersSpec, PathClass

Edges = Collection[tuple[str, str]]
_MAIL = re.compile(r"[a-z0-9._-]+@[a-z0-9.-]+")
_DOMAIN = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*")
_BLOCKS = {"tls": ("https", "cloud_storage"), "smtp": ("smtp",), "headers": ("slow_headers",),
           "stuffing": ("response_stuffing",), "icmp": ("icmp",), "cloud": ("cloud_storage",)}  # fmt: skip


def channel_problems(spec: ExfiltrationSpec, edges: Edges) -> list[Problem]:
    """Problems of the channel's own parameters, and of paths that it cannot use."""
    return [*_channel(spec), *_blocks(spec), *_mail(spec, edges), *_stuffing(spec, edges)]


def _channel(spec: ExfiltrationSpec) -> Iterator[Problem]:
    if spec.channel not in ("dns_tunnel", *DNS_TOOLS):
        if spec.dns is not None:
            yield Problem("exfiltration.dns", f"has no meaning for channel {spec.channel}", "null", set_it(spec))
    elif spec.dns is None:
        yield Problem(
            "exfiltration.dns", "must say how bytes become query names", "domain, record_type …", set_it(spec)
        )
    elif spec.channel != "dns_tunnel" and (spec.dns.resolver, spec.dns.answer) != ("cluster", "short"):
        got = f"are {spec.dns.resolver} and {spec.dns.answer}, which {spec.channel} cannot choose"
        yield Problem("exfiltration.dns.resolver and .answer", got, "cluster and short", set_it(spec))
    else:
        yield from _dns(spec, spec.dns)


def _blocks(spec: ExfiltrationSpec) -> Iterator[Problem]:
    for name, channels in _BLOCKS.items():
        given = getattr(spec, name) is not None
        if given and spec.channel not in channels:
            yield Problem(f"exfiltration.{name}", f"has no meaning for channel {spec.channel}", "null", set_it(spec))
        elif spec.channel in channels and not given:
            text = f"must be set for channel {spec.channel}"
            yield Problem(f"exfiltration.{name}", text, f"its {name} keys", set_it(spec))
    blocks = [(name, block) for name in _BLOCKS if (block := getattr(spec, name))]
    counts = {f"{name}.{key}": value for name, block in blocks for key, value in asdict(block).items()
              if type(value) is int}  # fmt: skip
    for key, value in counts.items():
        if value < 1:
            yield Problem(f"exfiltration.{key}", f"is out of range (got {value})", "≥ 1", set_it(spec))
    if spec.channel == "slow_headers" and spec.headers is not None and spec.headers.value_bytes >= 1:
        yield from _headers(spec, spec.headers)
    if spec.icmp and not icmp.PREFIX_BYTES < spec.icmp.payload_bytes <= icmp.LONGEST_PAYLOAD:
        text, allowed = (
            f"is out of range (got {spec.icmp.payload_bytes})",
            f"{icmp.PREFIX_BYTES + 1} … {icmp.LONGEST_PAYLOAD}",
        )
        yield Problem("exfiltration.icmp.payload_bytes", text, allowed, set_it(spec))
    if spec.tls and 1 <= spec.tls.client_hello_bytes < (least := LEAST_HELLO_BYTES + len(_host(spec))):
        text = f"is too short (got {spec.tls.client_hello_bytes})"
        yield Problem("exfiltration.tls.client_hello_bytes", text, f"≥ {least}", set_it(spec))
    if spec.cloud:
        yield from _cloud(spec, spec.cloud)


def _host(spec: ExfiltrationSpec) -> str:
    return spec.cloud.host if spec.cloud else max(spec.path, key=len, default="")


def _cloud(spec: ExfiltrationSpec, cloud: CloudSpec) -> Iterator[Problem]:
    if not _DOMAIN.fullmatch(cloud.host):
        text = f"is not a domain (got {cloud.host!r})"
        yield Problem("exfiltration.cloud.host", text, "lower-case labels of letters, digits and hyphens", set_it(spec))
    try:
        IPv4Address(cloud.address)
    except ValueError:
        text = f"is no IPv4 address (got {cloud.address!r})"
        yield Problem("exfiltration.cloud.address", text, "e.g. 192.0.2.92", set_it(spec))


def _headers(spec: ExfiltrationSpec, headers: HeadersSpec) -> Iterator[Problem]:
    longest = slow_headers.HEADER_BYTES - slow_headers.NAME_BYTES
    if headers.value_bytes > longest:
        text = f"is out of range (got {headers.value_bytes})"
        yield Problem("exfiltration.headers.value_bytes", text, f"1 … {longest}", set_it(spec))
    elif spec.bytes_per_message > slow_headers.capacity(headers):
        text = f"does not fit into a header of {headers.value_bytes} bytes (got {spec.bytes_per_message})"
        yield Problem("exfiltration.bytes_per_message", text, f"≤ {slow_headers.capacity(headers)}", set_it(spec))


def _stuffing(spec: ExfiltrationSpec, edges: Edges) -> Iterator[Problem]:
    if (spec.channel == "response_stuffing") != (spec.path_class is PathClass.response_stuffing):
        text = f"does not fit channel {spec.channel} (got {spec.path_class})"
        yield Problem("exfiltration.path_class", text, "response_stuffing with channel response_stuffing", set_it(spec))
    elif spec.channel == "response_stuffing" and {*carriages(tuple(spec.path), edges)} != {Carriage.pull}:
        text = f"has hops that are not replies of an allowed edge: [{', '.join(spec.path)}]"
        yield Problem("exfiltration.path", text, "allowed edges against their direction", alternatives(spec, edges))


def _mail(spec: ExfiltrationSpec, edges: Edges) -> Iterator[Problem]:
    if spec.channel == "smtp" and Carriage.pull in carriages(tuple(spec.path), edges):
        text = f"has hops that only the receiver may open: [{', '.join(spec.path)}]"
        yield Problem("exfiltration.path", text, "hops that the sender of the mail opens", set_it(spec))
    for key in ("sender", "recipient") if spec.smtp else ():
        if not _MAIL.fullmatch(getattr(spec.smtp, key)):
            text = f"is not a mail address (got {getattr(spec.smtp, key)!r})"
            yield Problem(f"exfiltration.smtp.{key}", text, "name@domain", set_it(spec))


def _dns(spec: ExfiltrationSpec, dns: DnsTunnelSpec) -> Iterator[Problem]:
    if not SHORTEST_LABEL <= dns.label_bytes <= LABEL_BYTES:
        allowed = f"{SHORTEST_LABEL} … {LABEL_BYTES}"
        yield Problem("exfiltration.dns.label_bytes", f"is out of range (got {dns.label_bytes})", allowed, set_it(spec))
    if not _DOMAIN.fullmatch(dns.domain) or any(len(label) > LABEL_BYTES for label in dns.domain.split(".")):
        allowed = "lower-case labels of letters, digits and hyphens"
        yield Problem("exfiltration.dns.domain", f"is not a domain (got {dns.domain!r})", allowed, set_it(spec))
    if dns.name_bytes > NAME_BYTES:
        allowed = f"≤ {NAME_BYTES}"
        yield Problem("exfiltration.dns.name_bytes", f"is out of range (got {dns.name_bytes})", allowed, set_it(spec))
    elif dns.label_bytes > 0 and name_capacity(dns) < 1:
        text = f"leaves no room for data under {dns.domain} (got {dns.name_bytes})"
        yield Problem("exfiltration.dns.name_bytes", text, f"longer, up to {NAME_BYTES}", set_it(spec))


def alternatives(spec: ExfiltrationSpec, edges: Edges) -> str:
    """Paths to choose from, for an error."""
    without_resolvers = [edge for edge in edges if edge[0] not in RESOLVERS and edge[1] not in RESOLVERS]
    found = leak_paths(without_resolvers, spec.path[0], most=3) if spec.path else []
    if not found:
        return set_it(spec)
    return "choose one: " + " or ".join(f"exfiltration.path=[{','.join(path)}]" for path in found)


def set_it(spec: ExfiltrationSpec) -> str:
    """Where a value is set, for an error."""
    return f"set it in conf/exfiltration/{spec.name}.yaml or on the command line"
