"""`nfdump -o csv`: NetFlow, IPFIX and sFlow as text, in the long form of 1.6 and the short one of 1.7.5 and later.

Format: nfdump(1), section OUTPUT FORMATS; the long header is `ts,te,td,sa,da,sp,dp,pr,flg,fwd,stos,ipkt,ibyt,opkt,obyt…`,
the short one `firstSeen,duration,proto,srcAddr,srcPort,dstAddr,dstPort,packets,bytes,flows`. Bytes are IP bytes
(RFC 5102, octetDeltaCount). Records go one way (two with `-b`, in opkt and obyt); who asked is decided later. Times carry no
zone and are read as UTC. Payload is not in the record: it is taken as IP bytes less the smallest headers.
"""

from __future__ import annotations

import csv
from datetime import UTC, datetime
from pathlib import Path

from mimir.flows.foreign.lines import Lines
from mimir.flows.foreign.table import DNS_PORT, HEADER_BYTES, ICMP, ICMP6, TCP, UDP, FlowTable, Rows, proto_number

FORMAT = "nfdump CSV"
#: what we need → its names; the first that is present counts
NAMES = {
    "start": ("ts", "firstseen", "tsr", "first"),
    "end": ("te", "lastseen", "ter", "last"),
    "duration": ("td", "duration"),
    "src": ("sa", "srcaddr", "srcip"),
    "dst": ("da", "dstaddr", "dstip"),
    "sport": ("sp", "srcport"),
    "dport": ("dp", "dstport"),
    "proto": ("pr", "proto", "protocol"),
    "flags": ("flg", "flags"),
    "packets": ("ipkt", "packets", "pkt", "inpackets"),
    "bytes": ("ibyt", "bytes", "byt", "inbytes"),
    "packets_back": ("opkt", "outpackets"),
    "bytes_back": ("obyt", "outbytes"),
}
NEEDED = ("start", "src", "dst", "sport", "dport", "proto", "packets", "bytes")
#: without flags, a record this much later than the one before it on the same tuple begins a new connection
SILENCE_S = 60.0


def header_of(line: str) -> dict[str, int] | None:
    """Field → column of a header line; None for any other line."""
    cells = [cell.strip().lower() for cell in line.split(",")]
    where = {name: cells.index(alias) for name, names in NAMES.items() for alias in reversed(names) if alias in cells}
    return where if all(name in where for name in NEEDED) else None


def read(path: Path) -> FlowTable:
    """Flow records as they stand; source and destination are not yet client and server.

    Raises MimirError when no line can be used.
    """
    lines, rows = Lines(path), Rows()
    where: dict[str, int] | None = None
    ended: dict[tuple[int, ...], float] = {}
    for number, line in lines:
        if not line.strip():
            continue
        if line.startswith("Summary"):  # then come totals
            where = None
            continue
        header = header_of(line)
        if header is not None:
            where = header
            continue
        if where is None:
            rows.bad.add(number, "not under a header of flow records")
            continue
        try:
            _add(rows, _cells(line, where), ended)
        except (ValueError, IndexError, OverflowError, csv.Error) as error:
            rows.bad.add(number, "unusable record", str(error)[:200])
    return rows.table(path, FORMAT, False, "ip", lines)


def _cells(line: str, where: dict[str, int]) -> dict[str, str]:
    cells = line.split(",") if '"' not in line else next(csv.reader([line]))
    return {name: cells[place].strip() for name, place in where.items()}


def _add(rows: Rows, cell: dict[str, str], ended: dict[tuple[int, ...], float]) -> None:
    start, proto = _seconds(cell["start"]), proto_number(cell["proto"])
    duration = _duration(cell["duration"]) if cell.get("duration") else max(_seconds(cell["end"]) - start, 0.0) \
        if cell.get("end") else 0.0  # fmt: skip
    portless = proto in (ICMP, ICMP6)  # the destination port is `type.code`
    ports = (0, 0) if portless else (int(cell["sport"]), int(cell["dport"]))
    ends = (rows.address(cell["src"]), rows.address(cell["dst"]), *ports)
    packets, size = _count(cell["packets"]), _count(cell["bytes"])
    packets_back, size_back = _count(cell.get("packets_back", "0")), _count(cell.get("bytes_back", "0"))
    headers = HEADER_BYTES.get(proto, 20)
    payload, payload_back = max(size - packets * headers, 0), max(size_back - packets_back * headers, 0)
    begins = _begins(cell.get("flags", ""), ends, proto, start, duration, ended)
    queries = packets if proto == UDP and ports[1] == DNS_PORT else 0
    counts = (size, size_back, payload, payload_back, packets, packets_back, begins, 0, 0, queries, 0)
    rows.add(start, duration, ends, proto, counts)


def _begins(
    flags: str, ends: tuple[int, ...], proto: int, start: float, duration: float, ended: dict[tuple[int, ...], float]
) -> int:
    """1 if a connection begins with this record: a SYN where flags are known, else a tuple after silence."""
    key = (*ends, proto)
    before = ended.get(key)
    ended[key] = max(start + duration, before or 0.0)
    if proto == TCP and flags.strip("."):
        return int("S" in flags)
    return int(before is None or start - before > SILENCE_S)


def _count(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise ValueError(f"{text[:40]!r} is no whole number (run nfdump with -N)") from None


def _seconds(text: str) -> float:
    """`2024-06-28 23:17:41.123` (UTC) or epoch seconds → epoch seconds. Raises ValueError."""
    if "-" in text[1:]:
        return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()
    return float(text)


def _duration(text: str) -> float:
    """Seconds, or `[days d ]hh:mm:ss.mmm` → seconds. Raises ValueError."""
    if ":" not in text:
        return float(text)
    days, _, clock = text.rpartition("d")
    hours, minutes, seconds = clock.strip().split(":")
    return float(days or 0) * 86_400 + int(hours) * 3600 + int(minutes) * 60 + float(seconds)
