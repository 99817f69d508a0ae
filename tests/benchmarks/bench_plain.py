"""What the same tables cost without connections: bytes and packets by addresses, lower port, protocol and second."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mimir.capture import open_capture
from mimir.flows import packets, settle, table
from mimir.flows.hashing import address_number
from mimir.jit import Int, kernel
from mimir.units import NS_PER_S


def plain(path: Path) -> dict[str, int]:
    """Decode a capture and add up plain edges per 1 s."""
    known, edges, count = table.new_table(2, 2, 1 << 12, 0), settle.new_edges(1 << 14), 0
    for batch in open_capture(path):
        columns, at = packets.columns(batch), 0
        while (at := add_packets(known, columns, edges, at)) < len(batch):
            edges = settle.grow_edges(edges)
        count += len(batch)
    return {"packets": count, "rows": int(edges.size[0])}


@kernel
def add_packets(known: table.Table, p: packets.Packets, e: settle.Edges, start: Int) -> Int:
    """Add packets from `start` on; returns the packet at which the edges were full, or the number of packets."""
    first, window, window_ns = start, 0, 0
    while first < len(p.ts_ns):
        stop = min(first + table.AHEAD, len(p.ts_ns))
        for at in range(first, stop):
            i = np.uint64(at)
            if not window_ns <= p.ts_ns[i] < window_ns + NS_PER_S:
                window = p.ts_ns[i] // NS_PER_S
                window_ns = window * NS_PER_S
            src_high, src_low = packets.source(p, i)
            dst_high, dst_low = packets.target(p, i)
            ends = settle.pair(address_number(known, src_high, src_low), address_number(known, dst_high, dst_low))
            service = (min(np.int64(p.sport[i]), np.int64(p.dport[i])) << 8) | np.int64(p.proto[i])
            settle.expect(e, at - first, ends, service, window)
        settle.fetch_cells(e, stop - first)
        for at in range(first, stop):
            if settle.is_full(e):
                return at
            i = np.uint64(at)
            cell = settle.expected_row(e, at - first, p.ts_ns[i] // NS_PER_S) + np.uint64(settle.FIRST_COUNTER)
            e.cells[cell + np.uint64(settle.REQUEST_BYTES)] += np.int64(p.ip_bytes[i])
            e.cells[cell + np.uint64(settle.REQUEST_PACKETS)] += 1
        first = stop
    return len(p.ts_ns)
