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
    service = ((edges.port << 8) | edges.proto).astype(np.int32)
    out, row = settle.new_edges(1 << 10), 0
    while True:
        row = _add_rows(edges, service, window_s // edges.base_s, out, row)
        if row == len(service):
            break
        out = settle.grow_edges(out)
    n = int(out.size[0])
    port_proto = out.service[:n].astype(np.int64)
    return replace(
        edges,
        base_s=window_s,
        client=out.client[:n],
        server=out.server[:n],
        port=port_proto >> 8,
        proto=port_proto & 0xFF,
        window=out.window[:n],
        counters=out.counters[:n],
    )


def _add_rows(edges: BaseEdges, service: NDArray[np.int32], ratio: int, out: settle.Edges, start: int) -> int:
    columns = (np.ascontiguousarray(getattr(edges, name)) for name in ("client", "server", "window", "counters"))
    client, server, window, counters = columns
    return int(add_rows(client, server, service, window, counters, ratio, out, start))


@kernel
def add_rows(
    client: NDArray[np.int32], server: NDArray[np.int32], service: NDArray[np.int32], window: NDArray[np.int64],
    counters: NDArray[np.int64], ratio: Int, out: settle.Edges, start: Int,
) -> Int:  # fmt: skip
    """Add rows from `start` on to `out`; returns the row at which it was full, or the number of rows."""
    for r in range(start, len(client)):
        if out.size[0] == len(out.client):
            return r
        coarse = window[r] // ratio
        slot = settle.edge_slot(out, client[r], server[r], service[r], coarse)
        n = np.int64(out.slots[slot])
        if n < 0:
            n = out.size[0]
            out.size[0] += 1
            out.slots[slot] = n
            out.client[n], out.server[n], out.service[n], out.window[n] = client[r], server[r], service[r], coarse
        for j in range(settle.N_COUNTERS):
            out.counters[n, j] += counters[r, j]
    return len(client)
