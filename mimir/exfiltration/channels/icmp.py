"""icmp: stolen bytes as the payload of echo requests (RFC 792) to a responder outside, which sends them back.

A payload is (session u16, sequence u32, data). A responder echoes it, so replies are as long as requests. The identifier
of the echo is the session; its sequence numbers count from 1 and wrap.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable

from mimir.exfiltration.channels.sequence import consecutive
from mimir.spec.exfiltration import IcmpSpec

_PREFIX = struct.Struct("!HI")
PREFIX_BYTES = _PREFIX.size
LONGEST_PAYLOAD = 1472  #: of an echo in one frame: MTU 1500 less IPv4 and ICMP headers


def encode(data: bytes, spec: IcmpSpec, session: int, first_sequence: int) -> list[bytes]:
    """Payloads that hold `data`, in order. ValueError when the limit leaves no room."""
    size = spec.payload_bytes - PREFIX_BYTES
    if size < 1:
        raise ValueError(f"payloads of {spec.payload_bytes} bytes leave no room for data")
    return [
        _PREFIX.pack(session & 0xFFFF, (first_sequence + number) & 0xFFFFFFFF) + data[begin : begin + size]
        for number, begin in enumerate(range(0, len(data), size))
    ]


def decode(payloads: Iterable[bytes]) -> bytes:
    """Inverse of `encode`, whatever the order and however often a payload came.

    ValueError for a payload without data, for two sessions mixed, and for missing sequence numbers (named).
    """
    pieces: dict[int, bytes] = {}
    sessions = set()
    for payload in payloads:
        if len(payload) <= PREFIX_BYTES:
            raise ValueError(f"{payload!r} holds no data")
        session, sequence = _PREFIX.unpack_from(payload)
        sessions.add(session)
        pieces[sequence] = payload[PREFIX_BYTES:]
    if len(sessions) > 1:
        raise ValueError(f"payloads of {len(sessions)} sessions: {sorted(sessions)}")
    return b"".join(pieces[sequence] for sequence in consecutive(pieces))
