"""Settle pending rows: from connections to edges between names, once it is known which leg counts."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mimir.capture.batch import ICMP, ICMP6
from mimir.flows.follow import REORDER_NS, rebuild
from mimir.flows.hashing import K1, K2, K3, mix
from mimir.flows.legs import LEG_NS
from mimir.flows.table import (
    AHEAD,
    CONNECTIONS,
    COPY_BYTES,
    COPY_PACKETS,
    DEAD,
    FREE,
    NOT_A_COPY,
    ROWS,
    WATERMARK_NS,
    Table,
)
from mimir.flows.tcp import expired
from mimir.jit import U64, Flag, Int, inlined, kernel, prefetch

#: in the order of mimir.flows.edges.COUNTERS
(
    REQUEST_BYTES, RESPONSE_BYTES, REQUEST_PAYLOAD, RESPONSE_PAYLOAD, REQUEST_PACKETS, RESPONSE_PACKETS, NEW, EXCHANGES,
    MEDIATED, DNS_QUERIES, DNS_NAME_BYTES, N_COUNTERS,
) = range(12)  # fmt: skip
#: cells of a row of `Edges`: base window, names of client and server, port × 256 + protocol, then the counters
WINDOW, ENDS, SERVICE, FIRST_COUNTER = range(4)
WIDTH = FIRST_COUNTER + N_COUNTERS
SERVED = 1 | 8


class Names(NamedTuple):
    """Owner of each address over time: address `n` has entries `first[n]:first[n + 1]`, sorted by `since_ns`."""

    first: NDArray[np.int64]
    since_ns: NDArray[np.int64]
    name: NDArray[np.int32]


class Edges(NamedTuple):
    """Edges per base window, hashed; the cells of a row stand together, so that an addition touches two cache lines."""

    cells: NDArray[np.int64]  #: WIDTH a row: window, ends, service, counters
    slots: NDArray[np.int32]
    size: NDArray[np.int64]  #: rows, one number
    ahead: NDArray[np.int64]  #: hash, ends and service of the next rows (look_ahead)


def new_edges(rows: int) -> Edges:
    """Empty; `rows` is a power of two."""
    return Edges(
        cells=np.zeros(rows * WIDTH, np.int64),
        slots=np.full(2 * rows, -1, np.int32),
        size=np.zeros(1, np.int64),
        ahead=np.zeros(3 * AHEAD, np.int64),
    )


def grow_edges(edges: Edges) -> Edges:
    """Twice the room."""
    out = new_edges(2 * (len(edges.cells) // WIDTH))
    out.cells[: len(edges.cells)] = edges.cells
    out.size[0] = edges.size[0]
    rebuild_edges(out)
    return out


def cells_of(edges: Edges) -> NDArray[np.int64]:
    """The rows as a table of shape (rows, WIDTH), without a copy."""
    return edges.cells[: int(edges.size[0]) * WIDTH].reshape(-1, WIDTH)


@inlined
def is_full(e: Edges) -> Flag:
    """Is there no room for another row?"""
    return e.size[0] * WIDTH == len(e.cells)


@inlined
def pair(client: Int, server: Int) -> Int:
    """The numbers of two names as one."""
    return (client << 32) | server


@inlined
def edge_hash(ends: Int, service: Int, window: Int) -> U64:
    """Where an edge in a window belongs."""
    return mix(np.uint64(ends) * K1 + np.uint64(service) * K2 + np.uint64(window) * K3)


@inlined
def edge_row(e: Edges, key: U64, ends: Int, service: Int, window: Int) -> U64:
    """Where the cells of an edge in a window begin; a new row if need be. The caller made sure there is room."""
    mask = np.uint64(len(e.slots) - 1)
    at = key & mask
    while e.slots[at] >= 0:
        cell = np.uint64(e.slots[at]) * np.uint64(WIDTH)
        known = (e.cells[cell] ^ window) | (e.cells[cell + np.uint64(ENDS)] ^ ends)
        if known | (e.cells[cell + np.uint64(SERVICE)] ^ service) == 0:
            return cell
        at = (at + np.uint64(1)) & mask
    e.slots[at] = e.size[0]
    cell = np.uint64(e.size[0]) * np.uint64(WIDTH)
    e.size[0] += 1
    e.cells[cell], e.cells[cell + np.uint64(ENDS)], e.cells[cell + np.uint64(SERVICE)] = window, ends, service
    return cell


@inlined
def expect(e: Edges, j: Int, ends: Int, service: Int, window: Int) -> None:
    """Note what row `j` of those ahead is added to, and ask for its slot."""
    key = edge_hash(ends, service, window)
    i = np.uint64(3 * j)
    e.ahead[i], e.ahead[i + np.uint64(1)], e.ahead[i + np.uint64(2)] = np.int64(key), ends, service
    prefetch(e.slots, np.int64(key & np.uint64(len(e.slots) - 1)))


@inlined
def fetch_cells(e: Edges, rows: Int) -> None:
    """Ask for the cells that the next `rows` expected rows are added to."""
    for j in range(rows):
        number = e.slots[np.uint64(e.ahead[np.uint64(3 * j)]) & np.uint64(len(e.slots) - 1)]
        if number >= 0:
            prefetch(e.cells, np.int64(number) * WIDTH)
            prefetch(e.cells, np.int64(number) * WIDTH + WIDTH - 1)


@inlined
def expected_row(e: Edges, j: Int, window: Int) -> U64:
    """The cells for row `j` of those ahead (see `edge_row`)."""
    i = np.uint64(3 * j)
    return edge_row(e, np.uint64(e.ahead[i]), e.ahead[i + np.uint64(1)], e.ahead[i + np.uint64(2)], window)


@kernel
def rebuild_edges(e: Edges) -> None:
    """Fill fresh slots after growth."""
    mask = np.uint64(len(e.slots) - 1)
    for n in range(e.size[0]):
        cell = np.uint64(n) * np.uint64(WIDTH)
        at = edge_hash(e.cells[cell + np.uint64(ENDS)], e.cells[cell + np.uint64(SERVICE)], e.cells[cell]) & mask
        while e.slots[at] >= 0:
            at = (at + np.uint64(1)) & mask
        e.slots[at] = n


@inlined
def owner(names: Names, address: Int, when_ns: Int) -> Int:
    """Name of an address at a time: the newest entry that began by then, or else the first."""
    start, stop = names.first[address], names.first[address + 1]
    at = stop - 1
    while at > start and names.since_ns[at] > when_ns:
        at -= 1
    return np.int64(names.name[at])


@inlined
def add_edge(table: Table, e: Edges, r: Int, j: Int) -> None:
    """Add row `r`, which is row `j` of those ahead, to its edge. The caller made sure there is room."""
    row = table.rows[r]
    c = table.connections[row.connection]
    n = expected_row(e, j, row.window) + np.uint64(FIRST_COUNTER)
    e.cells[n + np.uint64(REQUEST_BYTES)] += row.request_bytes
    e.cells[n + np.uint64(RESPONSE_BYTES)] += row.response_bytes
    e.cells[n + np.uint64(REQUEST_PAYLOAD)] += row.request_payload
    e.cells[n + np.uint64(RESPONSE_PAYLOAD)] += row.response_payload
    e.cells[n + np.uint64(REQUEST_PACKETS)] += row.request_packets
    e.cells[n + np.uint64(RESPONSE_PACKETS)] += row.response_packets
    e.cells[n + np.uint64(NEW)] += row.connections
    e.cells[n + np.uint64(EXCHANGES)] += row.exchanges
    e.cells[n + np.uint64(DNS_QUERIES)] += row.dns_queries
    e.cells[n + np.uint64(DNS_NAME_BYTES)] += row.dns_name_bytes
    if c.mediated or c.server_kind & SERVED:
        e.cells[n + np.uint64(MEDIATED)] += row.request_bytes + row.response_bytes


@inlined
def look_ahead(table: Table, names: Names, e: Edges, start: Int, stop: Int) -> None:
    """Where will rows up to `stop` be added? Ask for that memory, so that waiting for it overlaps."""
    for r in range(start, stop):
        prefetch(table.connections, np.int64(table.rows[r].connection))
    for r in range(start, stop):
        row = table.rows[r]
        c = table.connections[row.connection]
        port = 0 if c.proto == ICMP or c.proto == ICMP6 else c.a_port if c.client_is_b else c.b_port
        ends = pair(owner(names, c.client, c.first_ns), owner(names, c.server, c.first_ns))
        expect(e, r - start, ends, (np.int64(port) << 8) | np.int64(c.proto), row.window)
    fetch_cells(e, stop - start)


@inlined
def is_settled(table: Table, k: Int) -> Flag:
    """Can no further leg of connection `k` turn up?"""
    return table.connections[k].born_ns + LEG_NS + REORDER_NS < table.meta[WATERMARK_NS]


@inlined
def leave_out(table: Table, r: Int) -> None:
    """Count row `r` of a copy."""
    row = table.rows[r]
    c = table.connections[row.connection]
    table.copies[c.rule, COPY_PACKETS] += np.int64(row.request_packets) + np.int64(row.response_packets)
    table.copies[c.rule, COPY_BYTES] += row.request_bytes + row.response_bytes
    table.proofs[c.proof, COPY_PACKETS] += np.int64(row.request_packets) + np.int64(row.response_packets)
    table.proofs[c.proof, COPY_BYTES] += row.request_bytes + row.response_bytes


@kernel
def settle_rows(table: Table, names: Names, e: Edges, start: Int, everything: bool) -> Int:
    """Move settled rows from `start` on to the edges, in place; unsettled ones get a negative mark.

    Returns the row at which the edges were full, or the number of rows when done.
    """
    first, rows = start, np.int64(table.meta[ROWS])
    while first < rows:
        stop = min(first + AHEAD, rows)
        look_ahead(table, names, e, first, stop)
        for r in range(first, stop):
            if is_full(e):
                return r
            row = table.rows[r]
            c = table.connections[row.connection]
            if not everything and not is_settled(table, row.connection):
                continue
            if c.rule == NOT_A_COPY:
                add_edge(table, e, r, r - first)
            else:
                leave_out(table, r)
            if c.row == r:
                c.row = -1
            row.connection = -1
        first = stop
    return rows


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
