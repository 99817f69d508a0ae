"""Settle pending rows: from connections to edges between names, once it is known which leg counts."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mimir.capture.batch import ICMP, ICMP6
from mimir.flows.follow import REORDER_NS, rebuild
from mimir.flows.hashing import K1, K2, mix
from mimir.flows.legs import LEG_NS
from mimir.flows.table import CONNECTIONS, COPY_BYTES, COPY_PACKETS, DEAD, FREE, NOT_A_COPY, ROWS, WATERMARK_NS, Table
from mimir.flows.tcp import expired
from mimir.jit import Flag, Int, inlined, kernel

#: in the order of mimir.flows.edges.COUNTERS
(
    REQUEST_BYTES, RESPONSE_BYTES, REQUEST_PAYLOAD, RESPONSE_PAYLOAD, REQUEST_PACKETS, RESPONSE_PACKETS, NEW, EXCHANGES,
    MEDIATED, DNS_QUERIES, DNS_NAME_BYTES, N_COUNTERS,
) = range(12)  # fmt: skip
SERVED = 1 | 8


class Names(NamedTuple):
    """Owner of each address over time: address `n` has entries `first[n]:first[n + 1]`, sorted by `since_ns`."""

    first: NDArray[np.int64]
    since_ns: NDArray[np.int64]
    name: NDArray[np.int32]


class Edges(NamedTuple):
    """Edges per base window, hashed: keys (client name, server name, port × 256 + protocol, window) and counters."""

    client: NDArray[np.int32]
    server: NDArray[np.int32]
    service: NDArray[np.int32]
    window: NDArray[np.int64]
    counters: NDArray[np.int64]
    slots: NDArray[np.int32]
    size: NDArray[np.int64]  #: one number


def new_edges(rows: int) -> Edges:
    """Empty; `rows` is a power of two."""
    return Edges(
        client=np.zeros(rows, np.int32),
        server=np.zeros(rows, np.int32),
        service=np.zeros(rows, np.int32),
        window=np.zeros(rows, np.int64),
        counters=np.zeros((rows, N_COUNTERS), np.int64),
        slots=np.full(2 * rows, -1, np.int32),
        size=np.zeros(1, np.int64),
    )


def grow_edges(edges: Edges) -> Edges:
    """Twice the room."""
    old, out = len(edges.client), new_edges(2 * len(edges.client))
    for name in ("client", "server", "service", "window", "counters"):
        getattr(out, name)[:old] = getattr(edges, name)
    out.size[0] = edges.size[0]
    rebuild_edges(out)
    return out


@inlined
def edge_slot(e: Edges, client: Int, server: Int, service: Int, window: Int) -> Int:
    """Slot of an edge in a window, or the empty slot where it belongs."""
    mask = len(e.slots) - 1
    key = (np.uint64(client) << np.uint64(32)) ^ (np.uint64(server) * K1) ^ (np.uint64(service) * K2)
    at = np.int64(mix(key ^ mix(np.uint64(window))) & np.uint64(mask))
    while e.slots[at] >= 0:
        n = e.slots[at]
        if e.window[n] == window and e.client[n] == client and e.server[n] == server and e.service[n] == service:
            return at
        at = (at + 1) & mask
    return at


@kernel
def rebuild_edges(e: Edges) -> None:
    """Fill fresh slots after growth."""
    for n in range(e.size[0]):
        e.slots[edge_slot(e, e.client[n], e.server[n], e.service[n], e.window[n])] = n


@inlined
def owner(names: Names, address: Int, when_ns: Int) -> Int:
    """Name of an address at a time: the newest entry that began by then, or else the first."""
    start, stop = names.first[address], names.first[address + 1]
    at = stop - 1
    while at > start and names.since_ns[at] > when_ns:
        at -= 1
    return np.int64(names.name[at])


@inlined
def add_edge(table: Table, names: Names, e: Edges, r: Int) -> None:
    """Add row `r` to its edge. The caller made sure there is room."""
    row = table.rows[r]
    c = table.connections[row.connection]
    client, server = owner(names, c.client, c.first_ns), owner(names, c.server, c.first_ns)
    port = 0 if c.proto == ICMP or c.proto == ICMP6 else c.a_port if c.client_is_b else c.b_port
    service = (np.int64(port) << 8) | np.int64(c.proto)
    slot = edge_slot(e, client, server, service, row.window)
    n = np.int64(e.slots[slot])
    if n < 0:
        n = e.size[0]
        e.size[0] += 1
        e.slots[slot] = n
        e.client[n], e.server[n], e.service[n], e.window[n] = client, server, service, row.window
    counters = e.counters[n]
    counters[REQUEST_BYTES] += row.request_bytes
    counters[RESPONSE_BYTES] += row.response_bytes
    counters[REQUEST_PAYLOAD] += row.request_payload
    counters[RESPONSE_PAYLOAD] += row.response_payload
    counters[REQUEST_PACKETS] += row.request_packets
    counters[RESPONSE_PACKETS] += row.response_packets
    counters[NEW] += row.connections
    counters[EXCHANGES] += row.exchanges
    counters[DNS_QUERIES] += row.dns_queries
    counters[DNS_NAME_BYTES] += row.dns_name_bytes
    if c.mediated or c.server_kind & SERVED:
        counters[MEDIATED] += row.request_bytes + row.response_bytes


@inlined
def is_settled(table: Table, k: Int) -> Flag:
    """Can no further leg of connection `k` turn up?"""
    return table.connections[k].born_ns + LEG_NS + REORDER_NS < table.meta[WATERMARK_NS]


@kernel
def settle_rows(table: Table, names: Names, e: Edges, start: Int, everything: bool) -> Int:
    """Move settled rows from `start` on to the edges, in place; unsettled ones get a negative mark.

    Returns the row at which the edges were full, or the number of rows when done.
    """
    for r in range(start, table.meta[ROWS]):
        if e.size[0] == len(e.client):
            return r
        row = table.rows[r]
        c = table.connections[row.connection]
        if not everything and not is_settled(table, row.connection):
            continue
        if c.rule == NOT_A_COPY:
            add_edge(table, names, e, r)
        else:
            table.copies[c.rule, COPY_PACKETS] += np.int64(row.request_packets) + np.int64(row.response_packets)
            table.copies[c.rule, COPY_BYTES] += row.request_bytes + row.response_bytes
            table.proofs[c.proof, COPY_PACKETS] += np.int64(row.request_packets) + np.int64(row.response_packets)
            table.proofs[c.proof, COPY_BYTES] += row.request_bytes + row.response_bytes
        if c.row == r:
            c.row = -1
        row.connection = -1
    return np.int64(table.meta[ROWS])


@kernel
def compact_rows(table: Table) -> None:
    """Close the gaps that settled rows left."""
    kept = 0
    for r in range(table.meta[ROWS]):
        k = np.int64(table.rows[r].connection)
        if k < 0:
            continue
        if kept != r:
            table.rows[kept] = table.rows[r]
            if table.connections[k].row == r:
                table.connections[k].row = kept
        kept += 1
    table.meta[ROWS] = kept


@kernel
def reclaim(table: Table, timeout_ns: Int, oldest_ns: Int) -> Int:
    """Free connections that are over, or silent since before `oldest_ns`; rebuild the slots. Returns how many.

    Settled rows must have been moved before, and all rows when `oldest_ns` reaches into the last seconds.
    """
    freed, now = 0, table.meta[WATERMARK_NS]
    for k in range(len(table.connections)):
        c = table.connections[k]
        if not c.in_use or c.row >= 0:
            continue
        over = c.state & DEAD or expired(c, now - REORDER_NS, timeout_ns)
        if c.last_ns < oldest_ns or (over and is_settled(table, k)):
            table.free[table.meta[FREE]] = k
            table.meta[FREE] += 1
            c.in_use = 0
            freed += 1
    for at in range(len(table.slots)):
        table.slots[at] = 0
    rebuild(table)
    table.meta[CONNECTIONS] -= freed
    return freed
