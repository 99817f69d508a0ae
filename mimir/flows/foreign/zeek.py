"""Zeek's conn.log: tab-separated with a `#fields` header, or JSON lines.

Format: Zeek manual, "conn.log" (base/protocols/conn/main.zeek, record Conn::Info) and "Zeek log formats" (ASCII writer:
`#separator`, `#unset_field`, `#empty_field`, `#fields`). Columns are found by name, so added or missing ones do no harm.
`orig_ip_bytes` are IP bytes as edges count them; `orig_bytes` are payload, each TCP byte once.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from mimir.flows.foreign.lines import Lines
from mimir.flows.foreign.table import DNS_PORT, HEADER_BYTES, ICMP, ICMP6, UDP, FlowTable, Rows, proto_number

FORMAT = "a Zeek conn.log"
FIELDS = (
    "ts", "duration", "id.orig_h", "id.orig_p", "id.resp_h", "id.resp_p", "proto", "orig_bytes", "resp_bytes",
    "orig_pkts", "resp_pkts", "orig_ip_bytes", "resp_ip_bytes", "uid", "tunnel_parents", "ip_proto",
)  # fmt: skip
NEEDED = ("ts", "id.orig_h", "id.orig_p", "id.resp_h", "id.resp_p", "proto")
UNSET = ("-", "", None)
EMPTY = "(empty)"
#: the log of connections, also under a name that a filter gave it (conn_long, conn-summary)
CONNECTIONS = re.compile(r"conn([_.-]|$)")
Values = Sequence[Any]


def read(path: Path) -> FlowTable:
    """Flows of a conn.log; tunnels whose contents have lines of their own are removed as copies.

    Raises MimirError when no line can be used.
    """
    lines, rows = Lines(path), Rows()
    carried: set[str] = set()
    names: list[str] = []
    notes = {"sizes_from_payload": 0, "still_open": 0}
    for number, values in _records(lines, rows):
        try:
            _add(rows, values, notes)
        except (ValueError, TypeError, OverflowError) as error:
            rows.bad.add(number, "unusable value", str(error)[:200])
            continue
        names.append(str(values[13]))
        carried.update(uid for uid in _parents(values[14]) if uid != names[-1])
    table = rows.table(path, FORMAT, True, "ip", lines)
    table.notes = {name: count for name, count in notes.items() if count}
    table.remove(np.array([name in carried for name in names], np.bool_), "tunnel")
    return table


def _records(lines: Lines, rows: Rows) -> Iterator[tuple[int, Values]]:
    """(line number, values in the order of FIELDS) of every line that has the shape of a record."""
    header = _Header()
    for number, line in lines:
        if line.startswith("#"):
            if wrong := header.learn(line):
                rows.bad.add(number, *wrong)
        elif line.strip():
            values = _from_json(line) if line.startswith("{") else header.values(line)
            if isinstance(values, tuple):
                rows.bad.add(number, *values)
            else:
                yield number, values


Wrong = tuple[str, str]  #: what is wrong with a line: one of a few reasons, detail


class _Header:
    """What the lines with `#` said so far."""

    def __init__(self) -> None:
        self._separator, self._width = "\t", 0
        self._marks = {"#path": "", "#unset_field": "-", "#empty_field": EMPTY}
        self._pick: Callable[[list[str]], list[Any]] | None = None

    def learn(self, line: str) -> Wrong | None:
        """One line of a header; what is wrong with it."""
        if line.startswith("#separator "):
            self._separator = _separator(line)
            return None
        key, *cells = line.split(self._separator)
        if key in self._marks:
            self._marks[key] = cells[0] if cells else ""
        if not line.startswith("#fields"):
            return None
        self._pick, self._width = _picker(cells, self._marks["#unset_field"], self._marks["#empty_field"]), len(cells)
        if self._pick is None and _is_connections(self._marks["#path"]):
            return "header without the columns of a connection", ", ".join(cells)[:200]
        return None

    def values(self, line: str) -> list[Any] | Wrong:
        """Values of a record, or what is wrong with it."""
        if not _is_connections(self._marks["#path"]):
            return _of_another_log(self._marks["#path"])
        if self._pick is None:
            return "record before a usable #fields line", ""
        cells = line.split(self._separator)
        if len(cells) != self._width:
            return "wrong number of columns", f"{len(cells)} where #fields names {self._width}"
        return self._pick(cells)


def _of_another_log(path: str) -> Wrong:
    return f"a row of {path[:40]}.log, which is no connection", ""


def _separator(line: str) -> str:
    r"""`#separator \x09` → tab."""
    text = line.split(" ", 1)[1].strip()
    try:
        return chr(int(text[2:], 16)) if text.startswith("\\x") else text or "\t"
    except (ValueError, OverflowError):
        return "\t"


def _is_connections(path: str) -> bool:
    """Is that the name of a log of connections? A file that does not say is taken for one."""
    return not path or CONNECTIONS.match(path) is not None


def _picker(names: list[str], unset: str, empty: str) -> Callable[[list[str]], list[Any]] | None:
    """Cells of a line → values in the order of FIELDS; None when a needed column is missing.

    `unset` and `empty` are what the file writes for no value and for a list of none.
    """
    where = {name: place for place, name in enumerate(names)}
    if any(name not in where for name in NEEDED):
        return None
    places = [where.get(name, -1) for name in FIELDS]
    if unset == "-" and empty == EMPTY:
        return lambda cells: [cells[place] if place >= 0 else "-" for place in places]
    usual = {unset: "-", empty: EMPTY}
    return lambda cells: [usual.get(cells[place], cells[place]) if place >= 0 else "-" for place in places]


def _from_json(line: str) -> list[Any] | Wrong:
    """Values of a JSON record, or (what is wrong with it, detail). Some shippers write `id_orig_h` for `id.orig_h`."""
    try:
        record = json.loads(line)
    except (ValueError, RecursionError) as error:
        return "unusable record", f"not JSON ({error})"[:200]
    if not _is_connections(path := str(record.get("_path") or "")):
        return _of_another_log(path)
    if isinstance(record.get("id"), dict):
        record |= {f"id.{key}": value for key, value in record["id"].items()}
    record = {f"id.{name[3:]}" if name.startswith("id_") else name: value for name, value in record.items()}
    missing = [name for name in NEEDED if record.get(name) in UNSET]
    if missing:
        return "unusable record", f"no {', '.join(missing)}"
    return [record.get(name, "-") for name in FIELDS]


def _add(rows: Rows, values: Values, notes: dict[str, int]) -> None:
    ts, duration, orig_h, orig_p, resp_h, resp_p, proto_name = values[:7]
    up, down, packets_up, packets_down = (0 if v in UNSET else int(v) for v in values[7:11])
    orig, resp = rows.address(str(orig_h)), rows.address(str(resp_h))
    proto = _proto(str(proto_name), values[15])
    if proto == ICMP and rows.is_ipv6(orig):
        proto = ICMP6
    portless = proto in (ICMP, ICMP6)  # their "ports" are type and code
    ports = (0, 0) if portless else (int(orig_p), int(resp_p))
    sizes = []
    for ip_bytes, payload, packets in ((values[11], up, packets_up), (values[12], down, packets_down)):
        if ip_bytes in UNSET:
            notes["sizes_from_payload"] += 1
            sizes.append(payload + packets * HEADER_BYTES.get(proto, 20))
        else:
            sizes.append(int(ip_bytes))
    notes["still_open"] += duration in UNSET
    queries = packets_up if proto == UDP and ports[1] == DNS_PORT else 0
    counts = (*sizes, up, down, packets_up, packets_down, 1, int(up > 0), 0, queries, 0)
    rows.add(seconds(ts), 0.0 if duration in UNSET else float(duration), (orig, resp, *ports), proto, counts)


def _proto(name: str, number: Any) -> int:
    if number not in UNSET:
        return int(number)
    return 0 if name == "unknown_transport" else proto_number(name)


def _parents(value: Any) -> list[str]:
    """uids of the tunnels a connection came through."""
    if isinstance(value, list):
        return [str(uid) for uid in value]
    return [] if value in UNSET or value == "(empty)" else str(value).split(",")


def seconds(value: Any) -> float:
    """Epoch seconds, epoch milliseconds (JSON::TS_MILLIS) or ISO 8601 → epoch seconds. Raises ValueError."""
    if isinstance(value, str) and "T" in value:
        when = datetime.fromisoformat(value)
        return (when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp()
    number = float(value)
    return number / 1000 if number > 1e11 else number
