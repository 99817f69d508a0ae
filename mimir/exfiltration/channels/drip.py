"""drip: small WebSocket frames (RFC 6455) on one lasting connection; clients mask, servers do not, nobody answers."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from mimir.exfiltration.channels.exchange import Exchange, Hop
from mimir.exfiltration.paths import Carriage, carriages
from mimir.exfiltration.plan import Incident

MASK_BYTES = 4
_KEY, _ACCEPT = "x3JJHMbDL1EzLkh9GBhXDw==", "HSmrc0sMlYUkAGmm5OPpG2HaGWk="


def frame(data: bytes, mask: bytes | None) -> bytes:
    """A final binary frame; `mask` of four bytes for what a client sends."""
    count, bit = len(data), 0x80 if mask else 0
    if count < 126:
        head = bytes([0x82, bit | count])
    elif count < 1 << 16:
        head = bytes([0x82, bit | 126]) + count.to_bytes(2, "big")
    else:
        head = bytes([0x82, bit | 127]) + count.to_bytes(8, "big")
    return head + (mask + bytes(b ^ mask[i % 4] for i, b in enumerate(data)) if mask else data)


def frame_bytes(data_bytes: NDArray[np.int64], *, masked: bool) -> NDArray[np.int64]:
    """Length of `frame` for each data length."""
    extended = np.where(data_bytes < 126, 0, np.where(data_bytes < 1 << 16, 2, 8))
    return data_bytes + 2 + extended + (MASK_BYTES if masked else 0)


def upgrade(host: str) -> tuple[bytes, bytes]:
    """Request and response that turn an HTTP connection into a WebSocket."""
    asked = f"GET /live HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    asked += f"Sec-WebSocket-Key: {_KEY}\r\nSec-WebSocket-Version: 13\r\n\r\n"
    told = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    return asked.encode(), f"{told}Sec-WebSocket-Accept: {_ACCEPT}\r\n\r\n".encode()


def hops(incident: Incident, allowed_edges: Iterable[tuple[str, str]]) -> list[Hop]:
    """Sizes per hop."""
    none = np.zeros_like(incident.message_bytes)
    found = []
    sides = zip(incident.path, incident.path[1:], carriages(incident.path, allowed_edges), strict=False)
    for source, target, how in sides:
        pulled = how is Carriage.pull
        sizes = frame_bytes(incident.message_bytes, masked=not pulled)
        asked, told = upgrade(source if pulled else target)
        request, response = (none, sizes) if pulled else (sizes, none)
        found.append(
            Hop(source, target, how, request, response, opening=(Exchange(len(asked), len(told)),), one_way=True)
        )
    return found
