"""cloud_storage: each message is an object that is PUT to a storage service outside, inside TLS 1.3.

The service has a name, which is looked up, and which the application may use: its own backups go there. On the way to the
pod that uploads, relays pass the data on as in http_relay.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from mimir.exfiltration.channels import http_relay, https
from mimir.exfiltration.channels.exchange import Hop
from mimir.exfiltration.plan import Incident
from mimir.spec.exfiltration import CloudSpec, TlsSpec

PORT = 443


def put_head(host: str, number: int, length: int) -> bytes:
    """Head of the upload of object `number` (up to 8 digits are as long as each other) with `length` bytes."""
    lines = f"PUT /archive/part-{number:08d} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: backup/2.1\r\nAccept: */*\r\n"
    return f"{lines}Content-Type: application/octet-stream\r\nContent-Length: {length}\r\n\r\n".encode()


def stored() -> bytes:
    """What the service answers."""
    tag = "d41d8cd98f00b204e9800998ecf8427e"
    return f'HTTP/1.1 200 OK\r\nETag: "{tag}"\r\nContent-Length: 0\r\nConnection: keep-alive\r\n\r\n'.encode()


def hops(
    incident: Incident,
    allowed_edges: Iterable[tuple[str, str]],
    body: http_relay.Body,
    tls: TlsSpec,
    cloud: CloudSpec,
) -> list[Hop]:
    """Sizes per hop, store first; the last one is the upload."""
    *inner, last = http_relay.hops(incident, allowed_edges, body)
    known, place = np.unique(incident.message_bytes, return_inverse=True)
    heads = np.array([len(put_head(cloud.host, 0, int(count))) for count in known], dtype=np.int64)[place]
    answers = np.full_like(heads, len(stored()))
    upload = https.protect(last, heads + incident.message_bytes, answers, tls)
    return [*inner, upload]
