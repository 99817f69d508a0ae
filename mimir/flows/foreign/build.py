"""The edges stage for flow files: records and entities → edges.parquet and a report of what was counted and left out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mimir.errors import MimirError
from mimir.flows.foreign.detect import flow_format, read_flows
from mimir.flows.foreign.once import count_once
from mimir.flows.foreign.orient import orient
from mimir.flows.foreign.sensors import count_sensors_once
from mimir.flows.foreign.spread import spread
from mimir.flows.foreign.table import END, PACKETS, START, FlowTable
from mimir.flows.identity import Identity, from_events, load_identity
from mimir.flows.write import write_edges
from mimir.units import NS_PER_S

#: what the bytes of each kind of source are
SIZES = {
    "ip": "IP bytes",
    "frame": "bytes of frames, link headers included",
    "none": "not in this source: every byte count is 0; only connections, exchanges and DNS queries are counted",
}


@dataclass(frozen=True)
class FlowReport:
    """What `build_flow_edges` did; `to_json` is its part of capture.json. `entities` are pods that the source named."""

    rows: int
    tables: tuple[FlowTable, ...]
    entities: list[dict[str, Any]]

    def to_json(self) -> dict[str, Any]:
        """JSON values."""
        tables = self.tables
        copies: dict[str, dict[str, int]] = {}
        for table in tables:
            for rule, (flows, size) in table.copies.items():
                before = copies.get(rule, {"flows": 0, "bytes": 0})
                copies[rule] = {"flows": before["flows"] + flows, "bytes": before["bytes"] + size}
        return {
            "source": ", ".join(sorted({t.format for t in tables})),
            "sizes": "; ".join(sorted({SIZES[t.sizes] for t in tables})),
            "files": len(tables),
            "lines": sum(t.lines for t in tables),
            "flows": sum(len(t.data) for t in tables),
            "bytes": sum(t.bytes() for t in tables),
            "copies_removed": copies,
            "skipped_lines": _sum(t.bad.counts for t in tables),
            "bad_lines": [{"file": t.path.name, **line} for t in tables for line in t.bad.examples],
            "notes": _sum(t.notes for t in tables),
            "damaged": [{"file": t.path.name, "reason": t.damage} for t in tables if t.damage],
            "edge_rows": self.rows,
        }


def build_flow_edges(
    files: Sequence[Path], entities: Path | Identity | None, windows_s: Sequence[int], recording: str, out: Path
) -> FlowReport:
    """Read flow files and write edges of all window lengths (seconds, whole) and both views to `out`.

    `entities` is as for `mimir.flows.build_edges`; where it knows nobody, pods that the source itself names are used.
    Raises MimirError for files without flow records and entities that cannot be understood.
    """
    if not windows_s or min(windows_s) < 1:
        raise MimirError(f"window lengths must be whole seconds >= 1 (got {list(windows_s)})")
    tables = [read_flows(path) for path in files]
    try:
        identity = entities if isinstance(entities, Identity) else load_identity(entities)
        named = [event for table in tables for event in table.entities]
        if identity.tenures or identity.networks:
            named = []
        elif named:
            identity = from_events(named)
    except (ValueError, OSError) as error:
        raise MimirError(f"the entities cannot be read: {error}") from error
    count_sensors_once(tables)
    for table in tables:
        orient(table, identity)
        count_once(table, identity)
    rows = write_edges(spread(tables, identity, math.gcd(*windows_s)), windows_s, recording, out)
    return FlowReport(rows, tuple(tables), named)


def flow_span(files: Sequence[Path]) -> tuple[float, float, int, int] | None:
    """First and last time (UTC epoch s), number of flows and of packets in them; None when the first file holds packets.

    Raises MimirError when flow files and others are mixed, or nothing in them can be read.
    """
    formats = [flow_format(path) for path in files]
    if not any(formats):
        return None
    if not all(formats):
        other = files[formats.index(None)]
        raise MimirError(f"{other}: holds no flow records, but other files beside it do; name them apart")
    tables = [table for path in files if len((table := read_flows(path)).data)]
    if not tables:
        raise MimirError(f"{files[0]}: every flow is a repetition of another one")
    first = min(int(t.data[:, START].min()) for t in tables)
    last = max(int(np.maximum(t.data[:, END], t.data[:, START]).max()) for t in tables)
    packets = sum(int(t.data[:, PACKETS].sum()) for t in tables)
    return first / NS_PER_S, last / NS_PER_S, sum(len(t.data) for t in tables), packets


def _sum(counts: Any) -> dict[str, int]:
    out: dict[str, int] = {}
    for each in counts:
        for name, count in each.items():
            out[name] = out.get(name, 0) + count
    return out
