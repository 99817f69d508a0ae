"""Edges per base window → edges.parquet: all window lengths, both views, sorted, in bounded memory."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import closing
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from mimir.capture.ahead import read_ahead
from mimir.files import atomic
from mimir.flows import settle
from mimir.flows.coarsen import coarsen
from mimir.flows.connections import BaseEdges
from mimir.flows.edges import COUNTERS
from mimir.jit import kernel

#: base rows expanded at a time
SLICE_ROWS = 1 << 16
PROTOCOLS = {6: "tcp", 17: "udp", 1: "icmp", 58: "icmp6", 132: "sctp"}
VIEWS = ("pod", "service")
TEXTS = ("recording", "client", "server", "proto", "view")
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
#: texts as numbers into a list while they are in memory; in the file they are texts
_CODED = pa.schema([pa.field(f.name, pa.dictionary(pa.int32(), f.type) if f.name in TEXTS else f.type) for f in SCHEMA])


def write_edges(edges: BaseEdges, windows_s: Sequence[int], recording: str, out: Path, workers: int = 1) -> int:
    """Write the edges of one recording atomically; returns the number of rows. Same edges, same bytes.

    With two `workers` or more, tables are made on a thread of their own while the one before is packed.
    """
    rows = 0
    options = {"compression": "zstd", "store_schema": False}
    made = expand(edges, windows_s, recording)
    with (
        closing(read_ahead(made, 1) if workers > 1 else made) as parts,
        atomic(out) as temporary,
        pq.ParquetWriter(temporary, _CODED, **options) as writer,
    ):
        for part in parts:
            writer.write_table(part)
            rows += part.num_rows
    return rows


def expand(edges: BaseEdges, windows_s: Sequence[int], recording: str) -> Generator[pa.Table, None, None]:
    """Sorted tables in the order of the file: window lengths ascending, then time."""
    longer = edges
    for window_s in sorted(set(windows_s)):
        longer = coarsen(edges if window_s % longer.base_s else longer, window_s)
        windows = np.ascontiguousarray(longer.cells[:, settle.WINDOW])
        order = np.argsort(windows, kind="stable")
        starts = windows[order] * window_s
        slicer = _Slicer(longer, recording)
        for a, b in pairwise(_cuts(starts)):
            yield slicer.table(order[a:b], starts[a:b], window_s)


def _cuts(starts: NDArray[np.int64]) -> list[int]:
    """Places to cut sorted window starts, never inside a window."""
    cuts = [0]
    while cuts[-1] < len(starts):
        last = starts[min(cuts[-1] + SLICE_ROWS, len(starts)) - 1]
        stop = int(np.searchsorted(starts, last, "left"))
        if stop <= cuts[-1] or cuts[-1] + SLICE_ROWS >= len(starts):
            stop = int(np.searchsorted(starts, last, "right"))
        cuts.append(stop)
    return cuts


class _Slicer:
    """Slices of base edges → sorted tables. Names and protocols are numbered in the order of their texts."""

    def __init__(self, edges: BaseEdges, recording: str):
        self.edges, self.recording = edges, recording
        self.names = sorted({text for n in edges.names for text in (n.pod, n.service)})
        rank = {text: i for i, text in enumerate(self.names)}
        self.views = [np.array([rank[getattr(n, view)] for n in edges.names], np.int64) for view in VIEWS]
        texts = [PROTOCOLS.get(number, str(number)) for number in range(256)]
        self.protocols = sorted(texts)
        self.proto_rank = np.array([self.protocols.index(text) for text in texts], np.int64)

    def table(self, rows: NDArray[np.int64], starts: NDArray[np.int64], window_s: int) -> pa.Table:
        """Both views of base rows `rows`, grouped and sorted by the key columns."""
        edges, size = self.edges, len(self.names)
        ends, service = edges.cells[rows, settle.ENDS], edges.cells[rows, settle.SERVICE]
        client, server = ends >> 32, ends & 0xFFFFFFFF
        service = (service & ~0xFF) | self.proto_rank[service & 0xFF]
        first = np.concatenate([(starts - starts[0]) // window_s * size + ranks[client] for ranks in self.views])
        second = np.concatenate([(ranks[server] << 25) | (service << 1) | v for v, ranks in enumerate(self.views)])
        order = _sorted_by(first, second, size)
        first, second = first[order], second[order]
        heads = np.flatnonzero(np.r_[True, (first[1:] != first[:-1]) | (second[1:] != second[:-1])])
        sums = np.zeros((settle.N_COUNTERS, len(heads)), np.int64)
        add_groups(edges.cells, rows, order, heads, sums)
        first, second = first[heads], second[heads]
        columns = [
            self._coded([self.recording], np.zeros(len(heads), np.int64)),
            _numbers(np.full(len(heads), window_s, np.int32)),
            _numbers(starts[0] + first // size * window_s),
            self._coded(self.names, first % size),
            self._coded(self.names, second >> 25),
            _numbers(((second >> 9) & 0xFFFF).astype(np.int32)),
            self._coded(self.protocols, (second >> 1) & 0xFF),
            self._coded(list(VIEWS), second & 1),
            *(_numbers(column) for column in sums),
        ]
        return pa.table(columns, schema=_CODED)

    @staticmethod
    def _coded(texts: list[str], index: NDArray[np.int64]) -> pa.DictionaryArray:
        """Numbers into `texts`; the dictionary that goes to the file holds only those that occur."""
        used = np.zeros(len(texts), np.bool_)
        used[index] = True
        number = np.cumsum(used, dtype=np.int32) - np.int32(1)
        occurring = _texts([texts[i] for i in np.flatnonzero(used).tolist()])
        return pa.DictionaryArray.from_arrays(_numbers(number[index]), occurring)


@kernel
def add_groups(
    cells: NDArray[np.int64], rows: NDArray[np.int64], order: NDArray[np.int64], heads: NDArray[np.int64],
    sums: NDArray[np.int64],
) -> None:  # fmt: skip
    """Add up counters of `rows`, each of which stands once a view in `order`, by groups that begin at `heads`."""
    for g in range(len(heads)):
        stop = heads[g + 1] if g + 1 < len(heads) else len(order)
        for at in range(heads[g], stop):
            number = order[at]
            row = cells[rows[number - len(rows) if number >= len(rows) else number]]
            for j in range(settle.N_COUNTERS):
                sums[j, g] += row[settle.FIRST_COUNTER + j]


def _sorted_by(first: NDArray[np.int64], second: NDArray[np.int64], names: int) -> NDArray[np.int64]:
    """Order by `first`, then `second` (< names × 2 ** 25); equal ones in any order. One number for both, where it fits."""
    bits = names.bit_length() + 25
    if int(first.max()).bit_length() + bits < 64:
        return np.argsort((first << bits) | second)
    return np.lexsort((second, first))


def _numbers(values: NDArray[np.int32] | NDArray[np.int64]) -> pa.Array:
    """The values without a copy; `pa.array` would do, but imports pandas (0.3 s)."""
    kind = pa.int32() if values.dtype == np.int32 else pa.int64()
    return pa.Array.from_buffers(kind, len(values), [None, pa.py_buffer(values)])


def _texts(texts: list[str]) -> pa.StringArray:
    encoded = [text.encode() for text in texts]
    ends = np.cumsum([0, *map(len, encoded)], dtype=np.int32)
    return pa.StringArray.from_buffers(len(texts), pa.py_buffer(ends), pa.py_buffer(b"".join(encoded)))
