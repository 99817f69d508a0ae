"""What a request of a plan looks like: a real one, or one for the generic services, as large as the model draws it."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

_CALL = "X-Mimir-Call"
_FILL = "mimir-synthetic-filler-"
_BODIES = ("POST", "PUT", "PATCH")


def framed(endpoint: dict[str, Any], path: str, base: str, size: int, *, close: bool) -> tuple[dict[str, str], str]:
    """(headers, body) of one request to `base`. For a generic service head and body are `size` bytes, or a few more.

    >>> headers, body = framed({"method": "POST", "call": 7}, "/", "http://shop", 300, close=False)
    >>> headers["X-Mimir-Call"], len(body) > 100
    ('7 0', True)
    """
    headers = {"User-Agent": "mimir-load", "Accept": "*/*", "Accept-Encoding": "identity"}
    headers["Connection"] = "close" if close else "keep-alive"
    if endpoint["call"] is None:
        return headers, ""
    headers[_CALL] = f"{endpoint['call']} 0"
    has_body = endpoint["method"] in _BODIES
    if has_body:
        headers["Content-Length"] = "00000000"
    host = urlsplit(base).netloc
    head = f"{endpoint['method']} {path} HTTP/1.1\r\nHost: {host}\r\n"
    head += "".join(f"{name}: {value}\r\n" for name, value in headers.items()) + "\r\n"
    room = size - len(head)
    fill = (_FILL * (max(room, 0) // len(_FILL) + 1))[: max(room, 0)]
    if has_body:
        headers["Content-Length"] = f"{len(fill):08d}"
        return headers, fill
    if room > 1:
        headers[_CALL] += f" {fill[1:]}"
    return headers, ""
