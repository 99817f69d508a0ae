"""The channels over TCP by name: how a scenario's messages cross each hop."""

from __future__ import annotations

from collections.abc import Iterable

from mimir.exfiltration.channels import (
    cloud_storage,
    drip,
    http_post,
    http_relay,
    https,
    raw_tcp,
    response_stuffing,
    slow_headers,
    smtp,
)
from mimir.exfiltration.channels.exchange import Hop
from mimir.exfiltration.plan import Incident
from mimir.spec.exfiltration import ExfiltrationSpec


def hops(spec: ExfiltrationSpec, incident: Incident, allowed_edges: Iterable[tuple[str, str]]) -> list[Hop]:
    """Hops of an incident, store first. ValueError for a channel that is not over TCP or lacks its parameters."""
    if spec.channel == "https" and spec.tls:
        return https.hops(incident, allowed_edges, spec.body, spec.tls)
    if spec.channel == "cloud_storage" and spec.tls and spec.cloud:
        return cloud_storage.hops(incident, allowed_edges, spec.body, spec.tls, spec.cloud)
    if spec.channel == "smtp" and spec.smtp:
        return smtp.hops(incident, allowed_edges, spec.smtp)
    if spec.channel == "response_stuffing" and spec.stuffing:
        return response_stuffing.hops(incident, allowed_edges, spec.body, spec.stuffing)
    if spec.channel in ("http_relay", "http_post"):
        make = http_relay.hops if spec.channel == "http_relay" else http_post.hops
        return make(incident, allowed_edges, spec.body)
    plain = {"raw_tcp": raw_tcp.hops, "drip": drip.hops, "slow_headers": slow_headers.hops}
    if spec.channel not in plain:
        raise ValueError(f"channel {spec.channel} has no hops over TCP, or no parameters")
    return plain[spec.channel](incident, allowed_edges)
