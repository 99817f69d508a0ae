"""Edges as stable columns: names a detector can rely on from one recording to the next.

A pod counts as its service (so replicas and new pods are nothing new) and an unnamed outside client counts as
`outside:*` (a public entry meets new addresses all day; outside *servers* keep their names, a new one matters).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_address

import numpy as np
from numpy.typing import NDArray

from mimir.flows.edges import OUTSIDE, EdgeKey, EdgeSeries, is_outside

ANYONE = f"{OUTSIDE}*"
NODE = "node:"


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def canonical(key: EdgeKey, workloads: Mapping[str, str]) -> EdgeKey:
    """The column an edge belongs to.

    >>> str(canonical(EdgeKey("outside:198.51.100.7", "front-end-0", 8079, "tcp"), {"front-end-0": "front-end"}))
    'outside:* → front-end:8079/tcp'
    """
    client = workloads.get(key.client, key.client)
    if is_outside(client) and _is_address(client.removeprefix(OUTSIDE)):
        client = ANYONE
    return EdgeKey(client, workloads.get(key.server, key.server), key.server_port, key.proto)


@dataclass(frozen=True)
class Columns:
    """Distinct columns of a series, in the order of first appearance, and the column of each of its edges."""

    keys: tuple[EdgeKey, ...]
    index: NDArray[np.int64]  # (E,) position in `keys` of each edge of the series

    def sum(self, series: EdgeSeries, counter: str) -> NDArray[np.float64]:
        """(T, len(keys)) counter, edges of one column added up."""
        return self.fold(series.dense(counter))

    def fold(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """(T, E) per edge → (T, len(keys)) per column."""
        if len(self.keys) == len(self.index):
            return values  # columns are in order of appearance: nothing to add up
        out = np.zeros((len(self.keys), len(values)))
        np.add.at(out, self.index, values.T)
        return np.ascontiguousarray(out.T)

    def spread(self, values: NDArray[np.float64], weights: NDArray[np.float64]) -> NDArray[np.float64]:
        """(T, len(keys)) per column → (T, E) per edge, shared out by `weights` (T, E); sums are kept."""
        if len(self.keys) == len(self.index):
            return values
        total = self.fold(weights)
        counts = np.bincount(self.index, minlength=len(self.keys))
        share = np.where(
            total[:, self.index] > 0, weights / np.maximum(total[:, self.index], 1e-300), 1 / counts[self.index]
        )
        return values[:, self.index] * share


def columns_of(series: EdgeSeries) -> Columns:
    """Columns of a series (service or pod view)."""
    seen: dict[EdgeKey, int] = {}
    index = [seen.setdefault(canonical(key, series.workloads), len(seen)) for key in series.edges]
    return Columns(tuple(seen), np.array(index, dtype=np.int64))


def place(keys: Iterable[EdgeKey], known: Sequence[EdgeKey]) -> NDArray[np.int64]:
    """Position in `known` of each key, -1 for keys not in it."""
    position = {key: i for i, key in enumerate(known)}
    return np.array([position.get(key, -1) for key in keys], dtype=np.int64)


def aligned(series: EdgeSeries, counter: str, known: Sequence[EdgeKey]) -> NDArray[np.float64]:
    """(T, len(known)) counter of a series on the columns of training; columns not in the series are 0."""
    columns = columns_of(series)
    where = place(columns.keys, known)
    out = np.zeros((len(series), len(known)))
    out[:, where[where >= 0]] = columns.sum(series, counter)[:, where >= 0]
    return out


def outward_payload(series: EdgeSeries) -> NDArray[np.float64]:
    """(T, E) payload bytes going out: replies to clients outside, requests to servers outside, 0 elsewhere."""
    out = np.zeros((len(series), len(series.edges)))
    for i, key in enumerate(series.edges):
        if is_outside(key.server):
            out[:, i] = series.dense("request_payload_bytes")[:, i]
        elif is_outside(key.client):
            out[:, i] = series.dense("response_payload_bytes")[:, i]
    return out


def total_bytes(series: EdgeSeries) -> NDArray[np.float64]:
    """(T, E) IP bytes, both directions."""
    return series.dense("request_bytes") + series.dense("response_bytes")


def keys_to_json(keys: Sequence[EdgeKey]) -> list[list[str | int]]:
    """Edge keys as JSON."""
    return [list(key) for key in keys]


def keys_from_json(rows: Iterable[Sequence[str | int]]) -> tuple[EdgeKey, ...]:
    """The reverse of `keys_to_json`."""
    return tuple(EdgeKey(str(c), str(s), int(p), str(proto)) for c, s, p, proto in rows)
