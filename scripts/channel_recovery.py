"""Stolen bytes taken back out of dissected packets, channel by channel."""

from __future__ import annotations

import base64
import hashlib
import re
from collections import defaultdict
from collections.abc import Iterator
from typing import NamedTuple

from mimir.exfiltration.channels import (
    cloud_storage,
    dns_tunnel,
    http_relay,
    https,
    icmp,
    raw_tcp,
    response_stuffing,
    tls_bytes,
)
from mimir.exfiltration.plan import Incident
from mimir.spec import Spec


class Recovered(NamedTuple):
    """How many stolen bytes the packets hold, and their SHA-256 where they can be put in order."""

    bytes: int
    sha256: str


def recovered(spec: Spec, incident: Incident, packets: list[tuple[str, ...]]) -> Recovered:
    """`packets` as `channel_wire._streams` gives them: those at the node, in order of time."""
    leak = spec.exfiltration
    if leak.channel == "dns_tunnel" and leak.dns:
        names = [p[4].encode() for p in packets if p[4] and p[5] in ("0", "False") and p[4].endswith(leak.dns.domain)]
        return _whole(dns_tunnel.decode(names, leak.dns))
    if leak.channel == "icmp":
        return _whole(icmp.decode(bytes.fromhex(p[7]) for p in packets if p[6] == "8"))
    if leak.channel in ("https", "cloud_storage"):
        return Recovered(_in_tls(spec, incident, packets), "")
    streams = _streams(packets)
    pieces = [b"".join(_plain(spec, stream)) for stream in streams.values()]
    if incident.branches:
        return Recovered(sum(len(piece) for piece in pieces), "")
    return _whole(b"".join(pieces))


def _whole(data: bytes) -> Recovered:
    return Recovered(len(data), hashlib.sha256(data).hexdigest())


def _streams(packets: list[tuple[str, ...]]) -> dict[tuple[int, str], bytes]:
    """Content of each direction of each connection, repeated segments once; (stream, source port) → bytes."""
    found: dict[tuple[int, str], dict[int, bytes]] = defaultdict(dict)
    for stream, port, sequence, payload, *_ in packets:
        if stream and payload:
            found[int(stream), port].setdefault(int(sequence), bytes.fromhex(payload))
    return {key: b"".join(segments.values()) for key, segments in found.items()}


def _plain(spec: Spec, stream: bytes) -> Iterator[bytes]:
    """Stolen bytes in one direction of a connection; nothing in the other direction."""
    leak = spec.exfiltration
    if leak.channel == "raw_tcp" and stream.startswith(raw_tcp.MAGIC):
        messages, rest = raw_tcp.unframe(stream)
        assert not rest
        yield from (data for _, _, data in messages)
    elif leak.channel == "slow_headers":
        for value in re.findall(rb"Cookie: session=([^\r]+)", stream):
            yield base64.urlsafe_b64decode(value + b"=" * (-len(value) % 4))
    elif leak.channel == "smtp":
        for text in re.findall(rb"DATA\r\n.*?\r\n\r\n(.*?)\r\n\.\r\n", stream, re.DOTALL):
            yield base64.b64decode(text)
    elif leak.channel == "drip" and stream.startswith(b"GET "):
        yield from _frames(stream.partition(b"\r\n\r\n")[2])
    elif leak.channel == "response_stuffing" and stream.startswith(b"HTTP/"):
        yield from (response_stuffing.read_response(body) for body in _bodies(stream))
    elif leak.channel in ("http_relay", "http_post"):
        yield from (http_relay.read_body(body, leak.body) for body in _bodies(stream))


def _bodies(stream: bytes) -> Iterator[bytes]:
    """Bodies of HTTP messages with a length, those of errors left out."""
    while stream:
        head, _, stream = stream.partition(b"\r\n\r\n")
        length = re.search(rb"Content-Length: (\d+)", head)
        count = int(length[1]) if length else 0
        body, stream = stream[:count], stream[count:]
        if count and b" 404 " not in head.split(b"\r\n")[0]:
            yield body


def _frames(stream: bytes) -> Iterator[bytes]:
    """Payloads of masked WebSocket frames (RFC 6455, 5.2)."""
    at = 0
    while at < len(stream):
        count, at = stream[at + 1] & 0x7F, at + 2
        if count == 126:
            count, at = int.from_bytes(stream[at : at + 2], "big"), at + 2
        mask, at = stream[at : at + 4], at + 4
        yield bytes(b ^ mask[i % 4] for i, b in enumerate(stream[at : at + count]))
        at += count


def _in_tls(spec: Spec, incident: Incident, packets: list[tuple[str, ...]]) -> int:
    """Lengths of the client's application data less everything that is not stolen: tags, heads, Finished, alerts."""
    leak, port = spec.exfiltration, str(spec.exfiltration.port or cloud_storage.PORT)
    own = (https.FINISHED_BYTES, https.ALERT_BYTES)
    sizes = [size for (_, sender), stream in _streams(packets).items() if sender != port for size in _records(stream)]
    plain = [size - https.OVERHEAD_BYTES + https.HEADER_BYTES for size in sizes]
    heads = [
        cloud_storage.put_head(leak.cloud.host, k, int(count)) if leak.cloud
        else http_relay.post_head(incident.path[-1], int(count), leak.body)
        for k, count in enumerate(incident.message_bytes)
    ]  # fmt: skip
    return sum(size for size in plain if size not in own) - sum(len(head) for head in heads)


def _records(stream: bytes) -> Iterator[int]:
    """Lengths of the records of application data."""
    while stream:
        length = int.from_bytes(stream[3:5], "big")
        if stream[0] == tls_bytes.APPLICATION:
            yield length
        stream = stream[https.HEADER_BYTES + length :]
