"""What each side of a hop writes, as bytes: the same dialogue whose sizes `tcp.hops` gives, for captures with payload."""

from __future__ import annotations

import hashlib
from typing import Literal

from mimir.exfiltration.channels import (
    cloud_storage,
    drip,
    http_relay,
    raw_tcp,
    response_stuffing,
    slow_headers,
    smtp,
    tls_bytes,
)
from mimir.exfiltration.channels.exchange import Hop
from mimir.exfiltration.paths import OUTSIDE, Carriage
from mimir.spec.exfiltration import ExfiltrationSpec

Part = Literal["opening", "reopening", "before", "closing"]
Pair = tuple[bytes, bytes]  #: a request and its response
MISS = b"HTTP/1.1 404 Not Found\r\nContent-Type: text/plain\r\nConnection: keep-alive\r\n"


def message(spec: ExfiltrationSpec, hop: Hop, data: bytes, number: int) -> Pair:
    """Request and response that carry message `number` across a hop. ValueError for a channel that is not over TCP."""
    pulled, channel = hop.carriage is Carriage.pull, spec.channel
    if in_tls(spec, hop):
        plain = _stored(spec, data, number) if channel == "cloud_storage" else _http(spec, hop, data)
        return tls_bytes.records(plain[0]), tls_bytes.records(plain[1])
    if channel == "raw_tcp":
        frame, told = raw_tcp.frame(data, 1, number), raw_tcp.acknowledgement(1, max(0, number - pulled))
        return (told, frame) if pulled else (frame, told)
    if channel == "drip":
        frame = drip.frame(data, None if pulled else hashlib.sha256(data).digest()[: drip.MASK_BYTES])
        return (b"", frame) if pulled else (frame, b"")
    if channel == "slow_headers":
        value = slow_headers.write_value(data)
        asked, told = (b"", value) if pulled else (value, b"")
        return slow_headers.request(hop.server, asked), slow_headers.response(told)
    if channel == "smtp" and spec.smtp:
        return smtp.head(spec.smtp) + smtp.write_body(data) + smtp.END, smtp.ACCEPTED
    if channel == "response_stuffing" and spec.stuffing and hop.client == OUTSIDE:
        page = bytes(spec.stuffing.page_bytes).replace(b"\0", b".")
        return response_stuffing.request(hop.server), response_stuffing.response(page, data)
    if channel in ("http_relay", "http_post", "cloud_storage", "response_stuffing"):
        return _http(spec, hop, data)
    raise ValueError(f"channel {channel} has no hops over TCP, or no parameters")


def around(spec: ExfiltrationSpec, hop: Hop, part: Part, connection: int) -> tuple[Pair, ...]:
    """What opens or closes connection number `connection` of a hop, or precedes a message."""
    if in_tls(spec, hop) and spec.tls and part != "before":
        host = spec.cloud.host if spec.cloud else f"{hop.server}.example"
        if part == "closing":
            return ((tls_bytes.close_notify(), b""),)
        resumed = part == "reopening" and spec.tls.resume
        return tls_bytes.handshake(spec.tls, host, connection, resumed=resumed)
    if spec.channel == "smtp" and spec.smtp:
        return smtp.dialogue(spec.smtp).get(part, ())
    if spec.channel == "drip" and part == "opening":
        return (drip.upgrade(hop.server),)
    return ()


def miss(length: int) -> bytes:
    """The answer of a pod without a relay, `length` bytes in all."""
    fill = length - len(MISS) - len(b"Content-Length: 00\r\n\r\n")
    return MISS + b"Content-Length: %02d\r\n\r\n" % fill + b"-" * fill


def in_tls(spec: ExfiltrationSpec, hop: Hop) -> bool:
    """Is this hop inside TLS?"""
    return spec.channel == "https" or (spec.channel == "cloud_storage" and hop.server == OUTSIDE)


def _http(spec: ExfiltrationSpec, hop: Hop, data: bytes) -> Pair:
    content = http_relay.write_body(data, spec.body)
    if hop.carriage is Carriage.pull:
        return http_relay.get_head(hop.server), http_relay.response_head(len(content), spec.body) + content
    head = http_relay.post_head(hop.server, len(content), spec.body)
    return head + content, http_relay.response_head(0, spec.body)


def _stored(spec: ExfiltrationSpec, data: bytes, number: int) -> Pair:
    host = spec.cloud.host if spec.cloud else ""
    return cloud_storage.put_head(host, number, len(data)) + data, cloud_storage.stored()
