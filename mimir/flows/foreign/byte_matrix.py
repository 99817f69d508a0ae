"""Byte matrices of a service mesh's meters → EdgeSeries: bytes per client, server and sample, for several runs.

A table (CSV) with the columns `increment` (run), `exfil_bytes_per_event`, `t_sec`, `direction` (`sent`: reply bytes,
`received`: request bytes), `row_service` (client), `col_service` (server), `bytes`. Meters count bytes only. Detectors that need a count
of requests get request bytes over REQUEST_BYTES in its place, which is all there is; whatever adds to request bytes adds to it.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mimir.errors import MimirError
from mimir.flows.edges import COUNTERS, OUTSIDE, EdgeKey, EdgeSeries

COLUMNS = ("increment", "exfil_bytes_per_event", "t_sec", "direction", "row_service", "col_service", "bytes")
REQUEST_BYTES = 300.0  #: assumed bytes of a request, where a count of requests is wanted
DAY_S = 86_400  #: runs stand a day apart on the time axis


@dataclass(frozen=True)
class MeteredRun:
    """One run: `bytes[t, e, 0]` request and `bytes[t, e, 1]` reply bytes of edge `e` in the sample that ended at `end_s[t]`."""

    number: int
    theft_bytes: float
    end_s: NDArray[np.float64]  # (T,) s since the run began
    bytes: NDArray[np.float64]  # (T, E, 2)


@dataclass(frozen=True)
class ByteMatrix:
    """All runs of a table on the same edges, sampled every `window_s`."""

    edges: tuple[EdgeKey, ...]
    window_s: int
    runs: tuple[MeteredRun, ...]
    sensitive: frozenset[str]

    def series(self, chosen: Sequence[tuple[int, NDArray[np.bool_]]]) -> EdgeSeries:
        """The chosen samples of some runs, one after the other: (position of the run, which samples (T,))."""
        starts, values = [], []
        for position, mask in chosen:
            run = self.runs[position]
            starts.append(position * DAY_S + self.window_s * np.flatnonzero(mask))
            values.append(run.bytes[mask])
        start, data = np.concatenate(starts).astype(np.int64), np.concatenate(values)
        window, edge = np.nonzero(data.sum(axis=2))
        table = pd.DataFrame(0.0, index=np.arange(len(window)), columns=["window", "edge", *COUNTERS])
        table["window"], table["edge"] = window, edge
        for column, direction in (("request", 0), ("response", 1)):
            amount = data[window, edge, direction]
            table[f"{column}_bytes"] = table[f"{column}_payload_bytes"] = amount
        table["exchanges"] = table["request_bytes"] / REQUEST_BYTES
        table["request_packets"] = table["response_packets"] = table["exchanges"]
        return EdgeSeries(self.window_s, start, self.edges, table, sensitive=self.sensitive)


def read_byte_matrix(
    path: Path, outside: Collection[str], nodes: Collection[str], left_out: Collection[str], sensitive: Collection[str]
) -> ByteMatrix:
    """Read a table. `outside` and `nodes` are client names that are users and cluster nodes; servers `left_out` are dropped.

    Raises MimirError for a missing column, for bytes below 0, and for a table without a run of ten samples.
    """
    table = pd.read_csv(path)
    missing = [name for name in COLUMNS if name not in table]
    if missing:
        raise MimirError(f"{path} has no column {', '.join(missing)} (needed: {', '.join(COLUMNS)})")
    if not (table["bytes"] >= 0).all():
        raise MimirError(f"{path}: bytes must be ≥ 0, row {np.flatnonzero(~(table['bytes'] >= 0))[0] + 2} is not")
    table = table[~table["col_service"].isin([*left_out])]
    prefix = {**dict.fromkeys(outside, OUTSIDE), **dict.fromkeys(nodes, "node:")}
    clients = table["row_service"].map(lambda name: f"{prefix.get(name, '')}{name}")
    pairs = pd.MultiIndex.from_arrays([clients, table["col_service"]])
    edges = pairs.unique().sort_values()
    table = table.assign(edge=edges.get_indexer(pairs), side=(table["direction"] == "sent").astype(int))
    numbers = sorted({int(number) for number in table["increment"]})
    runs = [_run(number, table[table["increment"] == number], len(edges)) for number in numbers]
    runs = [run for run in runs if len(run.end_s) >= 10]
    if not runs:
        raise MimirError(f"{path} holds no run of at least ten samples")
    window_s = max(1, round(float(np.median(np.concatenate([np.diff(run.end_s) for run in runs])))))
    keys = tuple(EdgeKey(str(client), str(server), 80, "tcp") for client, server in edges)
    return ByteMatrix(keys, window_s, tuple(runs), frozenset(sensitive))


def _run(number: int, part: pd.DataFrame, edges: int) -> MeteredRun:
    ends, sample = np.unique(part["t_sec"].to_numpy(dtype=float), return_inverse=True)
    values = np.zeros((len(ends), edges, 2))
    np.add.at(values, (sample, part["edge"].to_numpy(), part["side"].to_numpy()), part["bytes"].to_numpy(dtype=float))
    return MeteredRun(number, float(part["exfil_bytes_per_event"].iloc[0]), ends, values)
