"""What the same tables cost without connections: bytes and packets by addresses, lower port, protocol and second."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mimir.capture import open_capture
from mimir.flows import packets, settle, table
from mimir.flows.hashing import address_number
from mimir.jit import Int, kernel


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
    for i in range(start, len(p.ts_ns)):
        if e.size[0] == len(e.client):
            return i
        src_high, src_low = packets.source(p, i)
        dst_high, dst_low = packets.target(p, i)
        source, target = address_number(known, src_high, src_low), address_number(known, dst_high, dst_low)
        service = (min(np.int64(p.sport[i]), np.int64(p.dport[i])) << 8) | np.int64(p.proto[i])
        window = p.ts_ns[i] // 1_000_000_000
        slot = settle.edge_slot(e, source, target, service, window)
        n = np.int64(e.slots[slot])
        if n < 0:
            n = e.size[0]
            e.size[0] += 1
            e.slots[slot] = n
            e.client[n], e.server[n], e.service[n], e.window[n] = source, target, service, window
        e.counters[n, settle.REQUEST_BYTES] += np.int64(p.ip_bytes[i])
        e.counters[n, settle.REQUEST_PACKETS] += 1
    return len(p.ts_ns)
