"""Flow records → edges per base window: names by time, bytes in proportion to time."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mimir.errors import MimirError
from mimir.flows.connections import BaseEdges
from mimir.flows.edges import COUNTERS
from mimir.flows.foreign.table import (
    CONNECTIONS,
    END,
    FIRST_COUNTER,
    ORIG,
    PROTO,
    RESP,
    RESP_PORT,
    START,
    FlowTable,
)  # fmt: skip
from mimir.flows.identity import Identity, Name
from mimir.units import NS_PER_S

#: (flow, window) pairs expanded at a time
PIECE_ROWS = 1 << 18
#: and at most in all: 230 bytes each where none shares its edge and window with another
MAX_PAIRS = 1 << 24
NEW = CONNECTIONS - FIRST_COUNTER
Grouped = tuple[NDArray[np.int64], NDArray[np.int64]]  #: (rows, 5) keys and (rows, len(COUNTERS)) sums


def spread(tables: Sequence[FlowTable], identity: Identity, base_s: int) -> BaseEdges:
    """Edges of all flows per window of `base_s` seconds.

    A flow's counts are spread over the windows from its start to its end in proportion to the time it spent in each, rounded so
    that they add up to what the record says; its connection counts where it begins. Its name is that of its start.
    Raises MimirError when flows last so long that they would fill more than MAX_PAIRS windows.
    """
    pairs = sum(int(np.sum(last - first + 1)) for first, last in (_windows(t.data, base_s * NS_PER_S) for t in tables))
    if pairs > MAX_PAIRS:
        flows = sum(len(table.data) for table in tables)
        raise MimirError(
            f"{flows:,} flows last for {pairs:,} windows of {base_s} s together, more than {MAX_PAIRS:,}: take longer"
            " windows (windows_s), a shorter active time-out of the exporter, or fewer files at a time"
        )
    names: dict[Name, int] = {}
    parts: list[Grouped] = [(np.zeros((0, 5), np.int64), np.zeros((0, len(COUNTERS)), np.int64))]
    for table in tables:
        if not len(table.data):  # all of it was a repetition
            continue
        client, server = (_name_numbers(table, column, identity, names) for column in (ORIG, RESP))
        keys = np.stack([client, server, table.data[:, RESP_PORT], table.data[:, PROTO]], axis=1)
        parts += _pieces(table.data, keys, base_s * NS_PER_S)
    keys, sums = _group(np.concatenate([k for k, _ in parts]), np.concatenate([s for _, s in parts]))
    client, server, port, proto, window = keys.T
    cells = np.column_stack([window, (client << 32) | server, (port << 8) | proto, sums])
    return BaseEdges(base_s, list(names), cells)


def _name_numbers(table: FlowTable, column: int, identity: Identity, names: dict[Name, int]) -> NDArray[np.int64]:
    """Number of the name of each flow's end at its start."""
    out = np.zeros(len(table.data), np.int64)
    order = np.argsort(table.data[:, column], kind="stable")
    numbers, heads = np.unique(table.data[order, column], return_index=True)
    for number, rows in zip(numbers.tolist(), np.split(order, heads[1:]), strict=True):
        owners = identity.owners(table.addresses[number])
        known = np.array([names.setdefault(name, len(names)) for _, name in owners], np.int64)
        since = np.array([since for since, _ in owners], np.int64)
        out[rows] = known[np.maximum(np.searchsorted(since, table.data[rows, START], "right") - 1, 0)]
    return out


def _windows(data: NDArray[np.int64], base_ns: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """First and last window of each flow. An end on a border is no time in the next window."""
    return data[:, START] // base_ns, np.maximum(data[:, END] - 1, data[:, START]) // base_ns


def _pieces(data: NDArray[np.int64], keys: NDArray[np.int64], base_ns: int) -> list[Grouped]:
    """Every (flow, window) pair, grouped, a bounded number at a time."""
    first, last = _windows(data, base_ns)
    stops = np.cumsum(last - first + 1)
    out = []
    for begin in range(0, int(stops[-1]) if len(stops) else 0, PIECE_ROWS):
        pairs = np.arange(begin, min(begin + PIECE_ROWS, int(stops[-1])))
        flow = np.searchsorted(stops, pairs, "right")
        window = pairs - (stops[flow] - (last - first + 1)[flow]) + first[flow]
        counts = _shares(data[flow], window, base_ns)
        out.append(_group(np.column_stack([keys[flow], window]), counts))
    return out


def _shares(flows: NDArray[np.int64], window: NDArray[np.int64], base_ns: int) -> NDArray[np.int64]:
    """Counts of each flow that fall into `window`: differences of rounded running totals."""
    start, length = flows[:, START], np.maximum(flows[:, END] - flows[:, START], 1)
    before = np.clip((window * base_ns - start) / length, 0.0, 1.0)
    after = np.clip(((window + 1) * base_ns - start) / length, 0.0, 1.0)
    totals = flows[:, FIRST_COUNTER:]
    counts: NDArray[np.int64] = np.rint(totals * after[:, None]).astype(np.int64) - np.rint(
        totals * before[:, None]
    ).astype(np.int64)
    counts[:, NEW] = np.where(start // base_ns == window, totals[:, NEW], 0)
    return counts


def _group(keys: NDArray[np.int64], counts: NDArray[np.int64]) -> Grouped:
    """Add up rows with equal keys."""
    if not len(keys):
        return keys, counts
    order = np.lexsort(keys.T[::-1])
    keys = keys[order]
    heads = np.flatnonzero(np.r_[True, np.any(keys[1:] != keys[:-1], axis=1)])
    return keys[heads], np.add.reduceat(counts[order], heads, axis=0)
