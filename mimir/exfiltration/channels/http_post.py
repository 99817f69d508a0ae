"""http_post: each message is the body of an HTTP/1.1 POST to the next host; pulled hops are as in http_relay."""

from __future__ import annotations

from collections.abc import Iterable

from mimir.exfiltration.channels import http_relay
from mimir.exfiltration.channels.exchange import Hop
from mimir.exfiltration.plan import Incident


def hops(incident: Incident, allowed_edges: Iterable[tuple[str, str]], body: http_relay.Body) -> list[Hop]:
    """Sizes per hop, store first."""
    return http_relay.hops(incident, allowed_edges, body)
