"""response_stuffing: the data is a comment (base64) in pages that an ordinary client outside asks for.

On the way to the entry relays pass it on in replies, as in http_relay; every hop is pulled.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from mimir.exfiltration.channels import http_relay
from mimir.exfiltration.channels.exchange import Hop
from mimir.exfiltration.plan import Incident
from mimir.spec.exfiltration import StuffingSpec

_OPEN, _CLOSE = b"<!-- ", b" -->"


def request(host: str) -> bytes:
    """What a browser asks."""
    head = f"GET / HTTP/1.1\r\nHost: {host}\r\nUser-Agent: Mozilla/5.0\r\nAccept: text/html\r\n"
    return f"{head}Connection: keep-alive\r\n\r\n".encode()


def response(page: bytes, data: bytes) -> bytes:
    """The page with the data behind it."""
    body = page + _OPEN + base64.b64encode(data) + _CLOSE
    head = f"HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\nContent-Length: {len(body)}\r\n"
    return f"{head}Connection: keep-alive\r\n\r\n".encode() + body


def read_response(answer: bytes) -> bytes:
    """Inverse of `response`; ValueError for a page without data."""
    _, begin, text = answer.rpartition(_OPEN)
    if not begin or not text.endswith(_CLOSE):
        raise ValueError("the page does not end with a comment that holds data")
    return base64.b64decode(text.removesuffix(_CLOSE), validate=True)


def response_bytes(data_bytes: NDArray[np.int64], page_bytes: int) -> NDArray[np.int64]:
    """Length of `response` for each data length."""
    known, place = np.unique(data_bytes, return_inverse=True)
    page = bytes(page_bytes)
    return np.array([len(response(page, bytes(int(count)))) for count in known], dtype=np.int64)[place]


def hops(
    incident: Incident, allowed_edges: Iterable[tuple[str, str]], body: http_relay.Body, spec: StuffingSpec
) -> list[Hop]:
    """Sizes per hop, store first."""
    *inner, entry = http_relay.hops(incident, allowed_edges, body)
    told = response_bytes(incident.message_bytes, spec.page_bytes)
    asked = np.full_like(told, len(request(entry.source)))
    return [*inner, replace(entry, request_bytes=asked, response_bytes=told)]
