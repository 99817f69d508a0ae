"""Packets in, edges per base window out: drives the kernels and makes room for them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mimir.capture.batch import PacketBatch
from mimir.flows import follow, packets, settle, table
from mimir.flows.hashing import learn, rebuild_addresses
from mimir.flows.identity import Identity, Name
from mimir.units import NS_PER_S

#: memory is bounded: at most this many connections are remembered (about 220 bytes each)
MAX_CONNECTIONS = 1 << 20
ROLE_BITS = {"service": table.SERVICE, "node": table.NODE, "node_port": table.NODE_PORT, "listener": table.LISTENER}


@dataclass(frozen=True)
class BaseEdges:
    """Edges per base window, a row each of mimir.flows.settle.WIDTH cells. Rows in no particular order."""

    base_s: int
    names: list[Name]  #: what the numbers of clients and servers mean
    cells: NDArray[np.int64]  #: (rows, WIDTH): window since the epoch, client and server, port and protocol, counters


class ConnectionTracker:
    """Feed batches in order, then take the edges. The result does not depend on how packets are cut into batches.

    `base_s` is the base window, `timeout_s` the silence after which a connection is over.
    """

    def __init__(self, identity: Identity, base_s: int, timeout_s: float, max_connections: int = MAX_CONNECTIONS):
        self.identity, self.base_s = identity, base_s
        self._timeout_ns = round(timeout_s * NS_PER_S)
        self._max = max_connections
        known = len(identity.endpoints)
        self._table = table.new_table(min(1 << 14, max_connections), 1 << 16, 1 << 12, known, max_connections)
        self._edges = settle.new_edges(1 << 14)
        self._names: list[Name] = []
        self._numbers: dict[Name, int] = {}
        self._owners: list[list[tuple[int, int]]] = []
        self._finished = False
        for (address, port), roles in sorted(identity.endpoints.items()):
            bits = sum(ROLE_BITS[role] for role in roles)
            learn(self._table, np.uint64(address[0]), np.uint64(address[1]), port, bits)

    def add(self, batch: PacketBatch | packets.Packets) -> None:
        """Account for all packets of a batch, or of the columns that were made of one. RuntimeError after `finish`."""
        if self._finished:
            raise RuntimeError("the connections were given up: a tracker that is finished takes no more packets")
        columns, at = packets.columns(batch) if isinstance(batch, PacketBatch) else batch, 0
        while True:
            why, at = follow.follow(self._table, columns, at, self.base_s * NS_PER_S, self._timeout_ns)
            if why == follow.DONE:
                return
            self._make_room(why)

    def _make_room(self, why: int) -> None:
        if why == follow.ADDRESSES_FULL:
            self._table = table.grow_addresses(self._table)
            rebuild_addresses(self._table)
            return
        self._settle(everything=False)
        if why == follow.ROWS_FULL and self._table.meta[table.ROWS] * 2 > len(self._table.rows):
            self._table = table.grow_rows(self._table)
        if why == follow.CONNECTIONS_FULL:
            self._free_connections()

    def _free_connections(self) -> None:
        size = len(self._table.connections)
        settle.reclaim(self._table, self._timeout_ns, -(2**62))
        free = int(self._table.meta[table.FREE])
        if free * 8 >= size:
            return
        if size < self._max:  # to a quarter unused: what is touched stays in memory
            new = min(max((size - free) * 4 // 3, size + 1), self._max)
            self._table = table.grow_connections(self._table, new)
            follow.rebuild(self._table)
            return
        self._settle(everything=True)
        seen_ns = self._table.connections["last_ns"]
        oldest_quarter = int(np.partition(seen_ns, size // 4)[size // 4]) + 1
        self._table.meta[table.EVICTED_EARLY] += settle.reclaim(self._table, self._timeout_ns, oldest_quarter)

    def _settle(self, everything: bool) -> None:
        names, row = self._name_table(), 0
        while True:
            row = settle.settle_rows(self._table, names, self._edges, row, everything)
            if row == self._table.meta[table.ROWS]:
                break
            self._edges = settle.grow_edges(self._edges)
        settle.compact_rows(self._table)

    def _name_table(self) -> settle.Names:
        """Owners of all addresses seen so far."""
        known = self._table.addresses[len(self._owners) : self._table.meta[table.ADDRESSES]]
        for high, low in known.tolist():
            owners = self.identity.owners((high, low))
            self._owners.append([(since, self._number(name)) for since, name in owners])
        first = np.zeros(len(self._owners) + 1, np.int64)
        np.cumsum([len(o) for o in self._owners], out=first[1:])
        flat = [entry for owners in self._owners for entry in owners]
        since = np.array([s for s, _ in flat], np.int64)
        return settle.Names(first, since, np.array([n for _, n in flat], np.int32))

    def _number(self, name: Name) -> int:
        if name not in self._numbers:
            self._numbers[name] = len(self._names)
            self._names.append(name)
        return self._numbers[name]

    def finish(self) -> BaseEdges:
        """Settle what is pending, give the edges, forget the connections."""
        self._settle(everything=True)
        self._finished = True
        self._table = table.emptied(self._table)
        return BaseEdges(self.base_s, self._names, settle.cells_of(self._edges))

    def copies(self) -> dict[str, dict[str, int]]:
        """Packets and IP bytes left out as copies, by rule (`node` only if there are any); complete after `finish`."""
        found = _named(table.RULE_NAMES[1:], self._table.copies[1:])
        return {rule: copies for rule, copies in found.items() if rule != "node" or copies["packets"]}

    def proofs(self) -> dict[str, dict[str, int]]:
        """The same packets and bytes, by what showed that they are copies."""
        return _named(table.PROOF_NAMES, self._table.proofs)

    def evicted_early(self) -> int:
        """Connections forgotten before their time-out because too many were open."""
        return int(self._table.meta[table.EVICTED_EARLY])

    def holes_forgotten(self) -> int:
        """Holes in TCP streams forgotten because a stream, or all together, had too many: their late bytes are no payload."""
        return int(self._table.meta[table.HOLES_FORGOTTEN])


def _named(names: tuple[str, ...], sums: NDArray[np.int64]) -> dict[str, dict[str, int]]:
    return {
        name: {"packets": packets, "bytes": size} for name, (packets, size) in zip(names, sums.tolist(), strict=True)
    }
