"""Requests of users to the real application behind a model: what the model's action needs beside its method and path.

One table for Locust and for the built-in users; a body is filled up to the size the model draws. Standard library only:
Locust's process imports this. A request to an application that is not listed is its method and path alone.
"""

from __future__ import annotations

import json
import struct
import zlib
from base64 import b64encode
from collections.abc import Callable
from typing import Any

AUTHORS = 20  #: accounts that users who write share; author 0, author 1, …
PASSWORD = "mimirmimirmimirmimirmimi"  # noqa: S105 - of synthetic accounts on this machine
_WORDS = "alder birch cedar elm fir hazel juniper larch maple oak pine rowan spruce walnut willow yew "

#: application → endpoint → kind of body ("" for none), JSON fields beside the one that is filled, signed in?
REAL: dict[str, dict[str, dict[str, Any]]] = {
    "wordpress": {
        "home": {"body": "", "fields": {}, "fill": "", "signed": False},
        "page": {"body": "", "fields": {}, "fill": "", "signed": False},
        "post_create": {"body": "json", "fields": {"status": "publish", "title": "News"}, "fill": "content", "signed": True},
        "media_upload": {"body": "png", "fields": {}, "fill": "", "signed": True},
        "profile": {"body": "", "fields": {}, "fill": "", "signed": True},
        "profile_update": {"body": "json", "fields": {}, "fill": "description", "signed": True},
    }
}  # fmt: skip


def author(number: int) -> str:
    """Account name of a user.

    >>> author(21)
    'author1'
    """
    return f"author{number % AUTHORS}"


def real_request(
    real: dict[str, Any], user: int, size: int, noise: Callable[[int], bytes]
) -> tuple[dict[str, str], bytes]:
    """(headers, body) of a request that is about `size` bytes in all; `noise(n)` gives n random bytes.

    >>> headers, body = real_request(REAL["wordpress"]["profile_update"], 3, 700, bytes)
    >>> headers["Content-Type"], 300 < len(body) < 700
    ('application/json', True)
    """
    headers = {"User-Agent": "mimir-load", "Accept": "*/*", "Accept-Encoding": "identity"}
    if real["signed"]:
        headers["Authorization"] = "Basic " + b64encode(f"{author(user)}:{PASSWORD}".encode()).decode()
    if not real["body"]:
        return headers, b""
    if real["body"] == "png":
        headers |= {"Content-Type": "image/png", "Content-Disposition": 'attachment; filename="image.png"'}
    else:
        headers["Content-Type"] = "application/json"
    room = max(1, size - 90 - sum(len(name) + len(value) + 4 for name, value in headers.items()))
    if real["body"] == "png":
        return headers, png(room, noise)
    bare = len(json.dumps(real["fields"] | {real["fill"]: ""}))
    text = (_WORDS * (room // len(_WORDS) + 1))[: max(1, room - bare)]
    return headers, json.dumps(real["fields"] | {real["fill"]: text}).encode()


def png(size: int, noise: Callable[[int], bytes]) -> bytes:
    """A picture of about `size` bytes that no encoder makes smaller: square, true colour, noise (PNG, ISO/IEC 15948).

    >>> len(png(50_000, bytes)) > 100, png(50_000, bytes)[:4]
    (True, b'\\x89PNG')
    """
    side = max(1, round((size / 3) ** 0.5))
    rows = b"".join(b"\0" + noise(3 * side) for _ in range(side))
    parts = [
        (b"IHDR", struct.pack("!IIBBBBB", side, side, 8, 2, 0, 0, 0)),
        (b"IDAT", zlib.compress(rows, 1)),
        (b"IEND", b""),
    ]
    chunks = (
        struct.pack("!I", len(data)) + kind + data + struct.pack("!I", zlib.crc32(kind + data)) for kind, data in parts
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)
