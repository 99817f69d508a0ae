"""Edges per base window → edges.parquet: all window lengths, both views, sorted, in bounded memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from mimir.files import atomic
from mimir.flows.connections import BaseEdges
from mimir.flows.edges import COUNTERS

#: base rows expanded at a time
SLICE_ROWS = 1 << 18
PROTOCOLS = {6: "tcp", 17: "udp", 1: "icmp", 58: "icmp6", 132: "sctp"}
VIEWS = ("pod", "service")
SCHEMA = pa.schema(
    [
        ("recording", pa.string()),
        ("window_s", pa.int32()),
        ("window_start", pa.int64()),
        ("client", pa.string()),
        ("server", pa.string()),
        ("server_port", pa.int32()),
        ("proto", pa.string()),
        ("view", pa.string()),
        *((name, pa.int64()) for name in COUNTERS),
    ]
)


def write_edges(edges: BaseEdges, windows_s: Sequence[int], recording: str, out: Path) -> int:
    """Write the edges of one recording atomically; returns the number of rows. Same edges, same bytes."""
    rows = 0
    with atomic(out) as temporary, pq.ParquetWriter(temporary, SCHEMA, compression="zstd") as writer:
        for part in expand(edges, windows_s, recording):
            writer.write_table(part)
            rows += part.num_rows
    return rows


def expand(edges: BaseEdges, windows_s: Sequence[int], recording: str) -> Iterator[pa.Table]:
    """Sorted tables in the order of the file: window lengths ascending, then time."""
    order = np.argsort(edges.window, kind="stable")
    names = sorted({text for n in edges.names for text in (n.pod, n.service)})
    rank = {text: i for i, text in enumerate(names)}
    views = [np.array([rank[getattr(n, view)] for n in edges.names], np.int64) for view in VIEWS]
    for window_s in sorted(set(windows_s)):
        starts = edges.window[order] * edges.base_s // window_s * window_s
        cuts = _cuts(starts)
        for a, b in pairwise(cuts):
            yield _table(edges, order[a:b], starts[a:b], views, names, window_s, recording)


def _cuts(starts: NDArray[np.int64]) -> list[int]:
    """Places to cut sorted window starts, never inside a window."""
    cuts = [0]
    while cuts[-1] < len(starts):
        at = min(cuts[-1] + SLICE_ROWS, len(starts)) - 1
        stop = int(np.searchsorted(starts, starts[at], "right" if at + 1 == len(starts) else "left"))
        if stop <= cuts[-1]:
            stop = int(np.searchsorted(starts, starts[at], "right"))
        cuts.append(stop)
    return cuts


def _table(
    edges: BaseEdges,
    rows: NDArray[np.int64],
    starts: NDArray[np.int64],
    views: list[NDArray[np.int64]],
    names: list[str],
    window_s: int,
    recording: str,
) -> pa.Table:
    """One slice: both views, grouped and sorted."""
    proto_names = sorted({PROTOCOLS.get(p, str(p)) for p in edges.proto[rows].tolist()})
    proto_rank = np.zeros(256, np.int64)
    for number in range(256):
        text = PROTOCOLS.get(number, str(number))
        proto_rank[number] = proto_names.index(text) if text in proto_names else 0
    keys = np.empty((2 * len(rows), 6), np.int64)
    for view, ranks in enumerate(views):
        part = keys[view * len(rows) : (view + 1) * len(rows)]
        part[:, 0], part[:, 1], part[:, 2] = starts, ranks[edges.client[rows]], ranks[edges.server[rows]]
        part[:, 3], part[:, 4], part[:, 5] = edges.port[rows], proto_rank[edges.proto[rows]], view
    order = np.lexsort(keys.T[::-1])
    keys = keys[order]
    heads = np.flatnonzero(np.r_[True, (keys[1:] != keys[:-1]).any(axis=1)]) if len(keys) else np.zeros(0, np.int64)
    sums = np.add.reduceat(edges.counters[rows[order % len(rows)]], heads, axis=0)
    keys = keys[heads]
    columns = [
        pa.array([recording]).take(pa.array(np.zeros(len(keys), np.int8))),
        np.full(len(keys), window_s, np.int32),
        keys[:, 0],
        _texts(names, keys[:, 1]),
        _texts(names, keys[:, 2]),
        keys[:, 3].astype(np.int32),
        _texts(proto_names, keys[:, 4]),
        _texts(list(VIEWS), keys[:, 5]),
        *sums.T,
    ]
    return pa.table(
        [pa.array(np.ascontiguousarray(c)) if isinstance(c, np.ndarray) else c for c in columns], schema=SCHEMA
    )


def _texts(names: list[str], index: NDArray[np.int64]) -> pa.Array:
    return pa.array(names, pa.string()).take(pa.array(index))
