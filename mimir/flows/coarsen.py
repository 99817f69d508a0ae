"""Longer windows from shorter ones: edges of the base window are added up by key, not sorted again."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from mimir.flows import settle
from mimir.flows.connections import BaseEdges
from mimir.jit import Int, kernel


def coarsen(edges: BaseEdges, window_s: int) -> BaseEdges:
    """The same traffic per `window_s`, a multiple of `edges.base_s` (s). Rows in no particular order."""
    if window_s == edges.base_s:
        return edges
    out, row = settle.new_edges(1 << 10), 0
    while True:
        row = add_rows(edges.cells, window_s // edges.base_s, out, row)
        if row == len(edges.cells):
            break
        out = settle.grow_edges(out)
    return replace(edges, base_s=window_s, cells=settle.cells_of(out))


@kernel
def add_rows(cells: NDArray[np.int64], ratio: Int, out: settle.Edges, start: Int) -> Int:
    """Add rows from `start` on to `out`; returns the row at which it was full, or the number of rows."""
    for r in range(start, len(cells)):
        if settle.is_full(out):
            return r
        row = cells[r]
        coarse, ends, service = row[settle.WINDOW] // ratio, row[settle.ENDS], row[settle.SERVICE]
        to = settle.edge_row(out, settle.edge_hash(ends, service, coarse), ends, service, coarse)
        for j in range(settle.FIRST_COUNTER, settle.WIDTH):
            out.cells[to + np.uint64(j)] += row[j]
    return len(cells)
