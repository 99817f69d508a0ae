"""http_relay: a message crosses each hop in one HTTP/1.1 exchange; relays in the pods pass the data on.

Where the side that wants the data is the client of an allowed edge it GETs and the body of the response is the data;
otherwise the side that has it POSTs the data.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from mimir.exfiltration.channels.exchange import Hop
from mimir.exfiltration.paths import Carriage, carriages
from mimir.exfiltration.plan import Incident

Body = Literal["binary", "base64"]
_TYPES: dict[Body, str] = {"binary": "application/octet-stream", "base64": "text/plain"}
_POWERS = 10 ** np.arange(1, 19, dtype=np.int64)


def write_body(data: bytes, body: Body) -> bytes:
    """The data as it stands in a body."""
    return base64.b64encode(data) if body == "base64" else data


def read_body(content: bytes, body: Body) -> bytes:
    """Inverse of `write_body`; ValueError for what is not base64."""
    return base64.b64decode(content, validate=True) if body == "base64" else content


def body_bytes(data_bytes: NDArray[np.int64], body: Body) -> NDArray[np.int64]:
    """Length of `write_body` for each data length."""
    return (data_bytes + 2) // 3 * 4 if body == "base64" else data_bytes


def get_head(host: str) -> bytes:
    """Request of a pulled message; the relay answers with the next message it holds."""
    return f"GET /health/detail HTTP/1.1\r\nHost: {host}\r\nUser-Agent: Mozilla/5.0\r\nAccept: */*\r\n\r\n".encode()


def post_head(host: str, length: int, body: Body) -> bytes:
    """Head of the request that pushes a message of `length` body bytes."""
    lines = f"POST /health/detail HTTP/1.1\r\nHost: {host}\r\nUser-Agent: Mozilla/5.0\r\nAccept: */*\r\n"
    return f"{lines}Content-Type: {_TYPES[body]}\r\nContent-Length: {length}\r\n\r\n".encode()


def response_head(length: int, body: Body) -> bytes:
    """Head of a response with `length` body bytes; for 0 the whole answer to a push."""
    if length == 0:
        return b"HTTP/1.1 204 No Content\r\nConnection: keep-alive\r\n\r\n"
    lines = f"HTTP/1.1 200 OK\r\nContent-Type: {_TYPES[body]}\r\n"
    return f"{lines}Content-Length: {length}\r\nConnection: keep-alive\r\n\r\n".encode()


def hops(incident: Incident, allowed_edges: Iterable[tuple[str, str]], body: Body) -> list[Hop]:
    """Sizes per hop, store first; the same as the lengths of the heads and bodies above."""
    content = body_bytes(incident.message_bytes, body)
    digits = np.searchsorted(_POWERS, content, side="right")  # beyond the one digit in the heads measured below
    found = []
    sides = zip(incident.path, incident.path[1:], carriages(incident.path, allowed_edges), strict=False)
    for source, target, how in sides:
        if how is Carriage.pull:
            request = np.full_like(content, len(get_head(source)))
            response = len(response_head(1, body)) + digits + content
        else:
            request = len(post_head(target, 1, body)) + digits + content
            response = np.full_like(content, len(response_head(0, body)))
        found.append(Hop(source, target, how, request, response))
    return found
