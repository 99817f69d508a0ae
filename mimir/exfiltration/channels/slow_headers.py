"""slow_headers: each message is a cookie (base64url) of an otherwise ordinary GET, or of the reply where it is pulled."""

from __future__ import annotations

import base64
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from mimir.exfiltration.channels.exchange import Hop
from mimir.exfiltration.paths import Carriage, carriages
from mimir.exfiltration.plan import Incident
from mimir.spec.exfiltration import HeadersSpec

HEADER_BYTES = 8190  #: longest header line common servers take (Apache httpd, LimitRequestFieldSize)
NAME_BYTES = len(b"Set-Cookie: session=; Path=/")  #: the longer of the two headers without its value


def write_value(data: bytes) -> bytes:
    """The data as a cookie's value, without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=")


def value_bytes(data_bytes: NDArray[np.int64]) -> NDArray[np.int64]:
    """Length of `write_value` for each data length."""
    return (4 * data_bytes + 2) // 3


def capacity(spec: HeadersSpec) -> int:
    """Stolen bytes that one header holds."""
    return 3 * spec.value_bytes // 4


def request(host: str, value: bytes) -> bytes:
    """A GET; without a value it has no cookie."""
    cookie = b"Cookie: session=" + value + b"\r\n" if value else b""
    return f"GET / HTTP/1.1\r\nHost: {host}\r\nUser-Agent: Mozilla/5.0\r\nAccept: */*\r\n".encode() + cookie + b"\r\n"


def response(value: bytes) -> bytes:
    """Its answer; without a value it sets no cookie."""
    cookie = b"Set-Cookie: session=" + value + b"; Path=/\r\n" if value else b""
    return b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n" + cookie + b"\r\nok"


def hops(incident: Incident, allowed_edges: Iterable[tuple[str, str]]) -> list[Hop]:
    """Sizes per hop."""
    value, found = value_bytes(incident.message_bytes), []
    sides = zip(incident.path, incident.path[1:], carriages(incident.path, allowed_edges), strict=False)
    for source, target, how in sides:
        if how is Carriage.pull:
            asked, told = np.full_like(value, len(request(source, b""))), len(response(b"x")) - 1 + value
        else:
            asked, told = len(request(target, b"x")) - 1 + value, np.full_like(value, len(response(b"")))
        found.append(Hop(source, target, how, asked, told))
    return found
