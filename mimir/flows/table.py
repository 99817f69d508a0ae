"""State of the connection kernel: plain arrays that grow, so that kernels stay pure and cacheable."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mimir.jit import Records

#: bits of what is known about an address (port 0) or an endpoint
SERVICE, LISTENER, NODE, NODE_PORT = 1, 2, 4, 8
#: bits of `state`
SYN_SEEN, FIN_A, FIN_B, RESET, ANSWERED, DEAD, FIRST_FROM_CLIENT, PEER_SEEN = 1, 2, 4, 8, 16, 32, 64, 128
#: rules by which a copy is removed; indices of `Table.copies`
NOT_A_COPY, BY_INTERFACE, BY_SERVICE, BY_NODE_PORT, BY_MASQUERADE, BY_NODE = range(6)
RULE_NAMES = ("", "interface", "service_address", "node_port", "masquerade", "node")
#: what showed that it is a copy; indices of `Table.proofs`. Marks: IP identification and length of a datagram
PROOF_INTERFACE, PROOF_ENTITIES, PROOF_NUMBERS, PROOF_MARKS = range(4)
PROOF_NAMES = ("interface_index", "entities", "sequence_numbers", "datagram_marks")
#: indices of `Table.meta`
WATERMARK_NS, CONNECTIONS, ROWS, ADDRESSES, FREE, SERIAL, LISTENERS, EVICTED_EARLY, HOLES_FORGOTTEN, META = range(10)

#: two cache lines: what every packet needs, then what opening, joining and settling need
CONNECTION = np.dtype(
    [
        ("a_high", "u8"), ("a_low", "u8"), ("b_high", "u8"), ("b_low", "u8"),  # a sent the first packet
        ("last_ns", "i8"),
        ("token", "u4"),  # TCP: client sequence number; UDP: length and IP identification of the first packet
        ("recent", "u4"),  # UDP: the same of the client's newest packet
        ("row", "i4"),  # pending row
        ("tunnel", "i4"),  # number of the overlay tunnel × 2, + 1 if its packet came from the server; -1: seen bare only
        ("a_port", "u2"), ("b_port", "u2"),
        ("proto", "u1"), ("client_is_b", "u1"), ("state", "u1"), ("payload_from", "u1"),
        ("first_ns", "i8"), ("born_ns", "i8"),  # born: watermark when it was created
        ("serial", "i8"), ("spot", "i8"),  # spot: interface and direction of its first packet
        ("peer", "u4"),  # TCP: server sequence number, known when PEER_SEEN
        ("client", "i4"), ("server", "i4"),  # numbers of addresses
        ("leg", "i4"), ("next_client", "i4"), ("next_token", "i4"),
        ("rule", "u1"), ("proof", "u1"), ("mediated", "u1"), ("client_kind", "u1"), ("server_kind", "u1"), ("in_use", "u1"),
    ],
    align=True,
)  # fmt: skip
#: bits of `shown` of a side: what its counted packets were. FURTHER_HOLES: there are more than the newest (`Table.holes`)
STARTED, ACK_SHOWN, FIN_SHOWN, RESET_SHOWN, OFFLOADED, FURTHER_HOLES = 1, 2, 4, 8, 16, 32
#: one direction of a connection: counted place, next sequence number, highest acknowledgement, the newest hole in the sequence
SIDE = np.dtype(
    [
        ("seen_ns", "i8"), ("place", "u4"), ("next", "u4"), ("ack", "u4"), ("hole", "u4"), ("hole_end", "u4"),
        ("shown", "u1"),
    ],
    align=True,
)  # fmt: skip
#: what one connection did in one base window
ROW = np.dtype(
    [
        ("window", "i8"), ("request_bytes", "i8"), ("response_bytes", "i8"), ("request_payload", "i8"),
        ("response_payload", "i8"), ("dns_name_bytes", "i8"), ("request_packets", "i4"), ("response_packets", "i4"),
        ("connections", "i4"), ("exchanges", "i4"), ("dns_queries", "i4"), ("connection", "i4"),
    ],
    align=True,
)  # fmt: skip
ADDRESS = np.dtype([("high", "u8"), ("low", "u8")])
ENDPOINT = np.dtype([("high", "u8"), ("low", "u8"), ("port", "i4"), ("bits", "i4")], align=True)
CHAIN_HEADS = 1 << 16
#: sets of datagrams that were counted lately, each a cache line (see mimir.flows.copies)
DATAGRAM_SETS, SET_SIZE = 1 << 14, 8
#: groups of holes beyond the newest of a side: the owner, then the holes
HOLE_GROUPS, GROUP_SIZE = 1 << 12, 8
LINE_BYTES = 64
#: packets whose state is fetched together, so that waiting for memory overlaps
AHEAD = 32
LEAST_ENDPOINTS = 1 << 17
COPY_PACKETS, COPY_BYTES = 0, 1


class Table(NamedTuple):
    """Everything the kernels read and write. Hash tables use open addressing; an empty slot is 0 (`slots`) or -1."""

    connections: Records
    sides: Records  #: two a connection
    slots: NDArray[np.uint64]  #: upper half of the hash, then the number of the connection plus one
    free: NDArray[np.int32]  #: stack of unused connections
    rows: Records
    addresses: Records
    address_slots: NDArray[np.int32]
    endpoints: Records  #: what is known of endpoints, hashed; bits 0 is an empty slot
    by_client: NDArray[np.int64]  #: newest connection of a client endpoint, by hash (see mimir.flows.legs.head)
    by_token: NDArray[np.int64]
    copies: NDArray[np.int64]  #: (rules, 2): packets and IP bytes removed
    proofs: NDArray[np.int64]  #: (proofs, 2): the same, by what showed it
    datagrams: NDArray[np.uint64]  #: (DATAGRAM_SETS × SET_SIZE): hash, then time in steps of 2 ** 20 ns
    holes: NDArray[np.uint64]  #: (HOLE_GROUPS × GROUP_SIZE): see mimir.flows.tcp
    meta: NDArray[np.int64]
    numbers: NDArray[np.int64]  #: connections of the next packets as far as known, or -1 (follow.look_ahead)
    hashes: NDArray[np.uint64]  #: of the next connections to enter (follow.rebuild)


def new_table(connections: int, rows: int, addresses: int, known_endpoints: int, most: int = 0) -> Table:
    """An empty table with room for four times the known endpoints; rows and addresses are powers of two.

    Connections can grow to `most` in place: memory that was never touched costs nothing.
    """
    meta = np.zeros(META, np.int64)
    meta[WATERMARK_NS], meta[FREE] = -(2**62), connections
    most = max(most, connections)
    return Table(
        connections=in_lines(most, CONNECTION)[:connections],
        sides=in_lines(2 * most, SIDE)[: 2 * connections],
        slots=_slots(connections),
        free=np.arange(connections, dtype=np.int32)[::-1].copy(),
        rows=np.zeros(rows, ROW),
        addresses=np.zeros(addresses, ADDRESS),
        address_slots=np.full(2 * addresses, -1, np.int32),
        endpoints=np.zeros(max(LEAST_ENDPOINTS, 1 << (4 * known_endpoints).bit_length()), ENDPOINT),
        by_client=np.zeros(2 * CHAIN_HEADS, np.int64),
        by_token=np.zeros(2 * CHAIN_HEADS, np.int64),
        copies=np.zeros((len(RULE_NAMES), 2), np.int64),
        proofs=np.zeros((len(PROOF_NAMES), 2), np.int64),
        datagrams=np.zeros(DATAGRAM_SETS * SET_SIZE, np.uint64),
        holes=np.zeros(HOLE_GROUPS * GROUP_SIZE, np.uint64),
        meta=meta,
        numbers=np.zeros(AHEAD, np.int64),
        hashes=np.zeros(AHEAD, np.uint64),
    )


def _slots(connections: int) -> NDArray[np.uint64]:
    """Empty slots, a power of two, at most half of which will be taken."""
    return np.zeros(1 << (2 * connections - 1).bit_length(), np.uint64)


def in_lines(count: int, dtype: np.dtype[np.void]) -> Records:
    """Zeroed records that begin at a cache line, so that those of 32, 64 and 128 bytes never straddle one."""
    raw = np.zeros(count * dtype.itemsize + LINE_BYTES, np.uint8)
    start = -raw.ctypes.data % LINE_BYTES
    return raw[start : start + count * dtype.itemsize].view(dtype)


def grow_rows(table: Table) -> Table:
    """Twice the room for rows."""
    rows = np.zeros(2 * len(table.rows), ROW)
    rows[: len(table.rows)] = table.rows
    return table._replace(rows=rows)


def grow_connections(table: Table, new: int) -> Table:
    """Room for `new` connections, no more than `new_table` reserved; the caller rebuilds the slots."""
    old = len(table.connections)
    left = int(table.meta[FREE])
    free = np.empty(new, np.int32)
    free[:left] = table.free[:left]
    free[left : left + new - old] = np.arange(new - 1, old - 1, -1)
    table.meta[FREE] = left + new - old
    connections, sides = _longer(table.connections, new), _longer(table.sides, 2 * new)
    return table._replace(connections=connections, sides=sides, slots=_slots(new), free=free)


def _longer(records: Records, count: int) -> Records:
    """The same records with more behind them, in the memory that `in_lines` reserved."""
    raw = records.base
    start = records.ctypes.data - raw.ctypes.data
    return raw[start : start + count * records.dtype.itemsize].view(records.dtype)


def grow_addresses(table: Table) -> Table:
    """Twice the room for addresses; the caller rebuilds the slots."""
    addresses = np.zeros(2 * len(table.addresses), ADDRESS)
    addresses[: len(table.addresses)] = table.addresses
    return table._replace(addresses=addresses, address_slots=np.full(2 * len(addresses), -1, np.int32))


def emptied(table: Table) -> Table:
    """Only what was counted; the memory of connections and rows goes back."""
    kept = {"copies": table.copies, "proofs": table.proofs, "meta": table.meta}
    return Table(**{name: kept.get(name, column[:0].copy()) for name, column in table._asdict().items()})
