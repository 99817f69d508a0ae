"""raw_tcp: length-framed messages on a TCP connection, each acknowledged by the collector.

Frame: magic, session, sequence number, data length (16 bytes, big endian), data. Acknowledgement: session, sequence.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable

import numpy as np

from mimir.exfiltration.channels.exchange import Hop
from mimir.exfiltration.paths import carriages
from mimir.exfiltration.plan import Incident

_FRAME, _ACKNOWLEDGEMENT = struct.Struct("!4sIII"), struct.Struct("!II")
MAGIC = b"MMR1"
FRAME_BYTES, ACKNOWLEDGEMENT_BYTES = _FRAME.size, _ACKNOWLEDGEMENT.size


def frame(data: bytes, session: int, sequence: int) -> bytes:
    """What the sender writes for one message."""
    return _FRAME.pack(MAGIC, session, sequence, len(data)) + data


def acknowledgement(session: int, sequence: int) -> bytes:
    """What the collector answers."""
    return _ACKNOWLEDGEMENT.pack(session, sequence)


def unframe(stream: bytes) -> tuple[list[tuple[int, int, bytes]], bytes]:
    """Whole messages (session, sequence, data) of a byte stream, and the rest. ValueError where no frame begins."""
    messages, at = [], 0
    while len(stream) - at >= FRAME_BYTES:
        magic, session, sequence, length = _FRAME.unpack_from(stream, at)
        if magic != MAGIC:
            raise ValueError(f"no frame at byte {at}: {magic!r} instead of {MAGIC!r}")
        end = at + FRAME_BYTES + length
        if end > len(stream):
            break
        messages.append((session, sequence, stream[at + FRAME_BYTES : end]))
        at = end
    return messages, stream[at:]


def hops(incident: Incident, allowed_edges: Iterable[tuple[str, str]]) -> list[Hop]:
    """Sizes per hop. A pulled hop is asked with the acknowledgement of the message before and answered with a frame."""
    full = incident.message_bytes + FRAME_BYTES
    small = np.full_like(full, ACKNOWLEDGEMENT_BYTES)
    sides = zip(incident.path, incident.path[1:], carriages(incident.path, allowed_edges), strict=False)
    return [
        Hop(source, target, how, small, full) if how == "pull" else Hop(source, target, how, full, small)
        for source, target, how in sides
    ]
