"""Tables of addresses that people already have: CSV, TSV, or what `kubectl get … -o wide` prints."""

from __future__ import annotations

import csv
import re
from itertools import pairwise
from pathlib import Path
from typing import Any

#: column names understood, as lower case; the first that is present counts
COLUMNS = {
    "ip": ("address", "ip", "cluster-ip", "clusterip", "internal-ip", "cidr", "prefix"),
    "name": ("name", "pod", "service"),
    "kind": ("kind", "type_of_entity"),
    "workload": ("workload", "owner", "app", "deployment"),
    "namespace": ("namespace",),
    "ports": ("port(s)", "ports"),
    "node": ("node",),
}
#: endings that controllers give to pod names: Deployment (-5d59d67564-xk2vp), DaemonSet (-x7k2p), StatefulSet (-0)
POD_SUFFIX = re.compile(r"(-[0-9a-f]{6,10})?-[0-9a-z]{5}$|-\d+$")


def read_table(path: Path) -> list[dict[str, Any]]:
    """Rows of a table as entity events without a time. Raises ValueError naming the line.

    The first line is a header with at least an address and a name column. `kind` is pod, service, node or external;
    without it, a table with a cluster IP holds services and one with an internal IP nodes, and of the rest private
    addresses are pods and prefixes and others external. Workloads are taken from pod names when not given. Several tables
    may follow each other, each with its header (`kubectl get pods,services -A -o wide`).
    """
    text = path.read_text(encoding="utf-8-sig")
    lines = [(n, line) for n, line in enumerate(text.splitlines(), 1) if line.strip() and not line.startswith("#")]
    if not lines:
        raise ValueError(f"{path}: the table of addresses is empty")
    starts = [0, *(i for i, (_, line) in enumerate(lines) if i and _is_header(line)), len(lines)]
    return [event for a, b in pairwise(starts) for event in _read_one(path, lines[a:b])]


def _is_header(line: str) -> bool:
    """Does another table begin here? It names an address and a name column and holds no address."""
    cells = {cell.strip().lower() for cell in re.split(r"[,\t]|\s+", line)}
    named = all(cells & set(COLUMNS[column]) for column in ("ip", "name"))
    return named and not any(re.fullmatch(r"[\d.]{7,}(/\d+)?|[0-9a-f]*:[0-9a-f:.]+(/\d+)?", cell) for cell in cells)


def _read_one(path: Path, lines: list[tuple[int, str]]) -> list[dict[str, Any]]:
    """Events of one table, its header first."""
    rows = _split([line for _, line in lines])
    header = [cell.strip().lower() for cell in rows[0]]
    where = {field: next((header.index(n) for n in names if n in header), -1) for field, names in COLUMNS.items()}
    if where["ip"] < 0 or where["name"] < 0:
        raise ValueError(f"{path}, line {lines[0][0]}: needs an address and a name column; it has: {', '.join(header)}")
    events = []
    for (number, _), row in zip(lines[1:], rows[1:], strict=True):
        if len(row) <= max(where["ip"], where["name"]):
            raise ValueError(f"{path}, line {number}: {len(row)} columns, the header has {len(header)}")
        cells = {field: row[i].strip() if 0 <= i < len(row) else "" for field, i in where.items()}
        cells["name"] = re.sub(r"^(pod|service|node)/", "", cells["name"])
        if cells["ip"] not in ("", "<none>", "None"):
            events.append(_event(cells, header[where["ip"]]))
    return events


def _split(lines: list[str]) -> list[list[str]]:
    """Cells by comma or tab; else by the columns of the header, as kubectl aligns them."""
    if not lines:
        return []
    for delimiter in (",", "\t"):
        if delimiter in lines[0]:
            return list(csv.reader(lines, delimiter=delimiter))
    starts = [m.start() for m in re.finditer(r"\S+( \S+)*", lines[0])]
    ends = [*starts[1:], None]
    aligned = [[line[a:b] for a, b in zip(starts, ends, strict=True)] for line in lines]
    fits = all(a == 0 or line[a - 1 : a] in (" ", "") for line in lines for a in starts)
    return aligned if fits and len(starts) > 1 else [line.split() for line in lines]


def _event(cells: dict[str, str], address_column: str) -> dict[str, Any]:
    kind = cells["kind"].lower() or _kind(cells["ip"], address_column)
    event: dict[str, Any] = {"event": "added", "kind": kind, "name": cells["name"], "ip": cells["ip"]}
    event["namespace"], event["node"] = cells["namespace"] or None, cells["node"] or None
    if kind == "pod":
        event["workload"] = cells["workload"] or POD_SUFFIX.sub("", cells["name"])
    if kind == "service":
        pairs = [re.fullmatch(r"(\d+)(?::(\d+))?(?:/\w+)?", p) for p in cells["ports"].split(",")]
        event["ports"] = {m[1]: int(m[1]) for m in pairs if m}
        event["node_ports"] = {m[2]: int(m[1]) for m in pairs if m and m[2]}
    return event


def _kind(ip: str, column: str) -> str:
    from mimir.flows.addresses import is_inside, parse_address

    if column in ("cluster-ip", "clusterip"):
        return "service"
    if column == "internal-ip":
        return "node"
    return "external" if "/" in ip or not is_inside(parse_address(ip)) else "pod"
