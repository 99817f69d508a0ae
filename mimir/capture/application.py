"""Application fields of captures: DNS, TLS and HTTP/1 by our own parsers, everything else by Wireshark's dissectors.

All dissectors fill one table under Wireshark's field names: a row per packet that has at least one of the chosen fields.
Packets stand there as often as the capture saw them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from typing import Literal, NamedTuple

from mimir.capture.sources import is_empty
from mimir.errors import CaptureError
from mimir.units import NS_PER_S

Dissector = Literal["own", "tshark", "pyshark"]
#: what our own parsers know; also what conf/capture asks for by default
OWN_FIELDS = (
    "dns.flags.response", "dns.qry.name", "dns.qry.type", "dns.flags.rcode", "dns.a", "dns.aaaa", "dns.cname",
    "tls.handshake.extensions_server_name", "tls.handshake.extensions_alpn_str",
    "http.request.method", "http.request.uri", "http.host", "http.user_agent", "http.content_length",
    "http.response.code",
)  # fmt: skip
MAX_VALUE_CHARACTERS = 4096
#: what tshark is asked for besides the chosen fields
PLACE_FIELDS = (
    "frame.number", "frame.time_epoch", "frame.protocols", "ip.src", "ip.dst", "ipv6.src", "ipv6.dst", "tcp.srcport",
    "tcp.dstport", "udp.srcport", "udp.dstport", "tcp.stream", "udp.stream",
)  # fmt: skip
#: complaints of tshark after which the packets before the damage still count
PARTLY_READ = ("cut short", "damaged or corrupt")


@dataclass(frozen=True)
class Dissection:
    """How to dissect: by whom, for which fields, and for tshark and pyshark which packets (a display filter).

    pyshark stops after `packets` packets that pass the filter; the others read everything.
    """

    dissector: Dissector
    fields: tuple[str, ...] = OWN_FIELDS
    display_filter: str = ""
    packets: int = 1000
    notes: list[str] = field(default_factory=list, compare=False)  #: what was not read and why, as it comes up


class FieldRow(NamedTuple):
    """One packet; `values` are texts in the order of the chosen fields, None where absent."""

    file: int  #: number of the capture file, from 1
    packet: int  #: number of the packet in its file, from 1, as Wireshark counts
    ts: float  #: UTC epoch s; NaN where neither it nor a packet before has a time
    src: str | None  #: address of the innermost IP packet
    dst: str | None
    proto: str | None  #: tcp, udp, or None
    sport: int | None
    dport: int | None
    stream: int | None  #: number of the TCP or UDP stream, as Wireshark counts; None from our own parsers
    complete: bool | None  #: was the message in this packet to its end? None from tshark and pyshark
    values: tuple[str | None, ...]


def application_fields(files: Sequence[Path], how: Dissection) -> Iterator[FieldRow]:
    """Rows of all files, in their order. Raises CaptureError for a file or field nobody understands, RequirementError
    without tshark when it is asked for, ValueError when our own parsers are asked for what they do not know."""
    if how.dissector == "own":
        unknown = [name for name in how.fields if name not in OWN_FIELDS]
        if unknown or how.display_filter:
            raise ValueError(f"dissector own knows no display filter and not the fields {unknown}; use tshark")
        return _own(files, how)
    return _tshark(files, how) if how.dissector == "tshark" else _pyshark(files, how)


def _own(files: Sequence[Path], how: Dissection) -> Iterator[FieldRow]:
    from mimir.capture import messages as m
    from mimir.capture.counts import CaptureCounts
    from mimir.capture.dns_message import read_dns, read_dns_stream
    from mimir.capture.hello import read_hello
    from mimir.capture.http1 import read_http

    counts, tcp = CaptureCounts(), 6
    for file, found in m.read_messages(files, counts):
        rows = zip(*(column.tolist() for column in found[:-1]), strict=True)
        for packet, ts_ns, src, dst, proto, sport, dport, kind, whole, start, size in rows:
            data = found.data[start : start + size].tobytes()
            if kind == m.DNS:
                values, complete = (read_dns_stream if proto == tcp else read_dns)(data)
            else:
                values, complete = read_hello(data) if kind == m.TLS else read_http(data)
            chosen = tuple(values.get(name) for name in how.fields)
            if any(value is not None for value in chosen):
                ends = (_address(*src), _address(*dst), "tcp" if proto == tcp else "udp", sport, dport)
                complete = complete and (whole or kind != m.DNS)
                seconds = math.nan if ts_ns == m.NO_TIME else ts_ns / NS_PER_S
                yield FieldRow(file, packet, seconds, *ends, None, complete, chosen)
    how.notes.extend(f"{d.file}: {d.reason}{f' (at byte {d.offset})' if d.offset else ''}" for d in counts.damaged)


@lru_cache(maxsize=1 << 14)
def _address(high: int, low: int) -> str:
    if high == 0 and low >> 32 == 0xFFFF:
        return str(IPv4Address(low & 0xFFFFFFFF))
    return str(IPv6Address(high << 64 | low))


def has_any(fields: Sequence[str], display_filter: str) -> str:
    """Display filter for packets that have one of the fields and pass another filter.

    >>> has_any(["dns.a", "http.host"], "ip")
    '(ip) and (dns.a or http.host)'
    """
    some = f"({' or '.join(fields)})"
    return f"({display_filter}) and {some}" if display_filter else some


def _tshark(files: Sequence[Path], how: Dissection) -> Iterator[FieldRow]:
    from mimir.capture.tshark import tshark_fields

    names = [*PLACE_FIELDS, *how.fields]
    for file, path in _with_packets(files, how):
        rows = tshark_fields(path, names, has_any(how.fields, how.display_filter), every_occurrence=True)
        with _damage_noted(how):
            for row in rows:
                yield _row(file, dict(zip(names, row, strict=True)), how)


def _pyshark(files: Sequence[Path], how: Dissection) -> Iterator[FieldRow]:
    from mimir.capture.tshark import dissect

    names, left = [*PLACE_FIELDS, *how.fields], how.packets
    for file, path in _with_packets(files, how):
        rows: list[dict[str, str | None]] = []
        with _damage_noted(how):
            rows = dissect(path, has_any(how.fields, how.display_filter), names, left + 1)
        for row in rows[:left]:
            yield _row(file, {name: value or "" for name, value in row.items()}, how)
        if len(rows) > left:
            how.notes.append(f"pyshark stopped after {how.packets} packets; more pass the filter")
            return
        left -= len(rows)


def _with_packets(files: Sequence[Path], how: Dissection) -> Iterator[tuple[int, Path]]:
    """Files by number; those of several that have no byte are noted instead."""
    for file, path in enumerate(files, 1):
        if len(files) > 1 and is_empty(path):
            how.notes.append(f"{path}: the file is empty")
        else:
            yield file, path


@contextmanager
def _damage_noted(how: Dissection) -> Iterator[None]:
    """A file that is damaged further on is noted; any other complaint goes on."""
    try:
        yield
    except CaptureError as error:
        if not any(words in error.reason for words in PARTLY_READ):
            raise
        how.notes.append(str(error))


def _row(file: int, found: dict[str, str], how: Dissection) -> FieldRow:
    """One row of tshark; where headers repeat (tunnels), those of the innermost packet count."""
    stack = found["frame.protocols"].split(":")
    network = next((name for name in reversed(stack) if name in ("ip", "ipv6")), "ip")
    transport = next((name for name in reversed(stack) if name in ("tcp", "udp")), None)
    ends = [_last(found[f"{network}.{end}"]) or None for end in ("src", "dst")]
    ports = [_number(found[f"{transport}.{end}"]) if transport else None for end in ("srcport", "dstport", "stream")]
    values = tuple(found[name][:MAX_VALUE_CHARACTERS] or None for name in how.fields)
    number, ts = int(found["frame.number"]), float(found["frame.time_epoch"] or "nan")
    return FieldRow._make([file, number, ts, *ends, transport, *ports, None, values])


def _last(text: str) -> str:
    return text.rpartition(",")[2]


def _number(text: str) -> int | None:
    return int(_last(text)) if _last(text).isdigit() else None
