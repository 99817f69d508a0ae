"""Questions and answers of a DNS message (RFC 1035, 4) under Wireshark's field names, every count bounded."""

from __future__ import annotations

import struct
from ipaddress import IPv4Address, IPv6Address

from mimir.capture.dns import HEADER_BYTES, read_name

A, CNAME, AAAA = 1, 5, 28
#: records looked at, whatever the header claims; more than fit into the 512 bytes of a classic answer
MAX_QUESTIONS, MAX_RECORDS, MAX_MESSAGES = 16, 256, 32
#: how Wireshark writes the name of the root
ROOT = "<Root>"


def read_dns(message: bytes) -> tuple[dict[str, str], bool]:
    """Message → (fields, was it there to its end?). Several values are joined by commas, as tshark does.

    Of a damaged message the part before the damage counts; where not even the first question holds together it is not
    taken for DNS.
    """
    if len(message) < HEADER_BYTES:
        return {}, False
    flags, questions, *counts = struct.unpack_from(">HHHHH", message, 2)
    found: dict[str, list[str]] = {"dns.flags.response": [str(flags >> 15)]}
    if flags >> 15:
        found["dns.flags.rcode"] = [str(flags & 15)]
    records = sum(counts)
    try:
        at = HEADER_BYTES
        for _ in range(min(questions, MAX_QUESTIONS)):
            name, at = read_name(message, at)
            (kind,) = _take(message, at, ">H")
            _add(found, "dns.qry.name", name or ROOT)
            _add(found, "dns.qry.type", str(kind))
            at += 4
        if questions <= MAX_QUESTIONS:
            for _ in range(min(records, MAX_RECORDS)):
                at = _record(message, at, found)
        whole = at <= len(message) and questions <= MAX_QUESTIONS and records <= MAX_RECORDS
    except ValueError:
        whole = False
        if "dns.qry.type" not in found:
            return {}, False
    return {name: ",".join(values) for name, values in found.items()}, whole


def read_dns_stream(data: bytes) -> tuple[dict[str, str], bool]:
    """Messages behind their lengths (RFC 1035, 4.2.2) in one TCP segment, the first at its beginning; as `read_dns`."""
    found: dict[str, list[str]] = {}
    at, whole = 0, True
    for _ in range(MAX_MESSAGES):
        size = int.from_bytes(data[at : at + 2], "big")
        message = data[at + 2 : at + 2 + size]
        fields, complete = read_dns(message)
        for name, value in fields.items():
            _add(found, name, value)
        at, whole = at + 2 + size, whole and complete and len(message) == size
        if not fields or at >= len(data):
            break
    return {name: ",".join(values) for name, values in found.items()}, whole


def _record(message: bytes, at: int, found: dict[str, list[str]]) -> int:
    """One resource record; returns where the next one begins."""
    _, at = read_name(message, at)
    kind, size = _take(message, at, ">H6xH")
    at += 10
    data = message[at : at + size]
    if len(data) < size:
        raise ValueError("the record is cut off")
    if kind == A and size == 4:
        _add(found, "dns.a", str(IPv4Address(data)))
    elif kind == AAAA and size == 16:
        _add(found, "dns.aaaa", str(IPv6Address(data)))
    elif kind == CNAME and size:
        _add(found, "dns.cname", read_name(message, at)[0] or ROOT)
    return at + size


def _take(message: bytes, at: int, layout: str) -> tuple[int, ...]:
    try:
        return struct.unpack_from(layout, message, at)
    except struct.error:
        raise ValueError("the message is cut off") from None


def _add(found: dict[str, list[str]], field: str, value: str) -> None:
    found.setdefault(field, []).append(value)
