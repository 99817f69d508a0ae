"""Who asked? For sources that say who sent to whom, not who opened a flow. The rules are those for packets."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mimir.flows.addresses import is_inside
from mimir.flows.foreign.table import CONNECTIONS, ORIG, ORIG_PORT, PROTO, REQUEST, RESP, RESP_PORT, START, FlowTable
from mimir.flows.identity import Identity
from mimir.flows.packets import EPHEMERAL

#: how likely an address is to be a server, where nothing else is known
OUTSIDE_RANK, INSIDE_RANK, NODE_RANK, POD_RANK, SERVICE_RANK = range(5)


def orient(table: FlowTable, identity: Identity) -> None:
    """Put clients first, in place.

    A known listening port decides; then the side below the ephemeral ports while the other is not; then who sent first on the
    tuple. Where neither ports nor protocol are known, it is what the addresses are: services and their backends answer, outsiders
    ask. A record that was turned round and carries only replies begins no connection: its other half does.
    """
    if table.directed:
        return
    turned = _by_port(table, identity)
    blind = (table.data[:, ORIG_PORT] == 0) & (table.data[:, RESP_PORT] == 0) & (table.data[:, PROTO] == 0)
    if blind.any():
        turned[blind] = _by_rank(table, identity)[blind]
    _follow_first(table, turned)
    table.swap(turned == 1)
    if table.sizes == "ip":  # records of one direction
        table.data[(turned == 1) & (table.data[:, REQUEST] == 0), CONNECTIONS] = 0
    table.directed = True


def _by_port(table: FlowTable, identity: Identity) -> NDArray[np.int64]:
    """1 where a record must be turned round, 0 where not, -1 where ports do not say."""
    keys = np.array(sorted(number << 16 | port for number, port in _listeners(table, identity)), np.int64)
    data = table.data
    source = np.isin(data[:, ORIG] << 16 | data[:, ORIG_PORT], keys)
    target = np.isin(data[:, RESP] << 16 | data[:, RESP_PORT], keys)
    low_source, low_target = data[:, ORIG_PORT] < EPHEMERAL, data[:, RESP_PORT] < EPHEMERAL
    by_range = np.where(low_source == low_target, -1, low_source.astype(np.int64))
    return np.where(source == target, by_range, source.astype(np.int64))


def _listeners(table: FlowTable, identity: Identity) -> set[tuple[int, int]]:
    numbers = {address: number for number, address in enumerate(table.addresses)}
    return {
        (numbers[address], port)
        for (address, port), roles in identity.endpoints.items()
        if "listener" in roles and address in numbers
    }


def _by_rank(table: FlowTable, identity: Identity) -> NDArray[np.int64]:
    """The same for records without ports, by what the addresses are."""
    ranks = np.array([_rank(address, identity) for address in table.addresses], np.int64)
    source, target = ranks[table.data[:, ORIG]], ranks[table.data[:, RESP]]
    backends = _backends_asked(table, ranks)
    as_source, as_target = (
        np.array([pair in backends for pair in zip(table.data[:, a].tolist(), table.data[:, b].tolist(), strict=True)])
        for a, b in ((ORIG, RESP), (RESP, ORIG))
    )
    return np.where(source == target, as_source & ~as_target, source > target).astype(np.int64)


def _backends_asked(table: FlowTable, ranks: NDArray[np.int64]) -> set[tuple[int, int]]:
    """(server, client): the client asks some service address, the server asks none; so it may be behind it."""
    pairs = table.data[:, [ORIG, RESP]]
    service = ranks[pairs] == SERVICE_RANK
    asking = set(pairs[service[:, 1], 0].tolist()) | set(pairs[service[:, 0], 1].tolist())
    return {(a, b) for pair in pairs.tolist() for a, b in (pair, pair[::-1]) if b in asking and a not in asking}


def _rank(address: tuple[int, int], identity: Identity) -> int:
    roles = identity.endpoints.get((address, 0), set())
    if "service" in roles:
        return SERVICE_RANK
    if "node" in roles:
        return NODE_RANK
    if identity.tenures.get(address):
        return POD_RANK
    return INSIDE_RANK if is_inside(address) else OUTSIDE_RANK


def _follow_first(table: FlowTable, turned: NDArray[np.int64]) -> None:
    """Where ports do not say, the sender of the first record on a tuple is the client of all of them."""
    open_rows = np.flatnonzero(turned < 0)
    first: set[tuple[int, ...]] = set()
    columns = [ORIG, ORIG_PORT, RESP, RESP_PORT, PROTO]
    for row in open_rows[np.argsort(table.data[open_rows, START], kind="stable")].tolist():
        a, a_port, b, b_port, proto = table.data[row, columns].tolist()
        forward, backward = (a, a_port, b, b_port, proto), (b, b_port, a, a_port, proto)
        turned[row] = int(backward in first)
        if backward not in first:
            first.add(forward)
