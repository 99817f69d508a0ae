"""Several sensors, one connection: files of a cluster's nodes, of which client's and server's node both saw it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mimir.flows.addresses import Address
from mimir.flows.foreign.table import ORIG, ORIG_PORT, PROTO, RESP, RESP_PORT, START, FlowTable
from mimir.units import NS_PER_S

RULE = "sensor"
#: clocks of nodes and paths between them differ by less than this
SAME_NS = NS_PER_S


def count_sensors_once(tables: Sequence[FlowTable]) -> None:
    """Of connections with the same endpoints that begin within a second in different files, keep the first, in place.

    Only for sources that have whole connections with bytes and say who opened them (Zeek), and only for flows with ports.
    Within one file nothing is removed: there a tuple that comes twice is two connections.
    """
    tables = [t for t in tables if t.sizes == "ip" and t.directed]
    if len(tables) < 2:
        return
    keys = _keys(tables)
    owner = np.repeat(np.arange(len(tables)), [len(t.data) for t in tables])
    order = np.lexsort((keys[:, -1], *keys[:, :-1].T))
    ranked, who = keys[order], owner[order]
    near = (ranked[1:, :-1] == ranked[:-1, :-1]).all(axis=1) & (ranked[1:, -1] - ranked[:-1, -1] <= SAME_NS)
    repeats = near & (who[1:] != who[:-1]) & (ranked[1:, 2] > 0)
    gone = np.zeros(len(keys), np.bool_)
    gone[order[1:][repeats]] = True
    for number, table in enumerate(tables):
        table.remove(gone[owner == number], RULE)


def _keys(tables: Sequence[FlowTable]) -> NDArray[np.int64]:
    """(flows of all tables, 6): both endpoints with addresses numbered across tables, protocol, start."""
    numbers: dict[Address, int] = {}
    parts = []
    for table in tables:
        shared = np.array([numbers.setdefault(address, len(numbers)) for address in table.addresses], np.int64)
        part = table.data[:, [ORIG, RESP, ORIG_PORT, RESP_PORT, PROTO, START]]
        part[:, :2] = shared[part[:, :2]]
        parts.append(part)
    return np.concatenate(parts)
