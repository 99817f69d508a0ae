"""edges.parquet → EdgeSeries."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from mimir.flows.edges import COUNTERS, EdgeKey, EdgeSeries


def load_series(
    edges_parquet: Path,
    recording: str,
    window_s: int,
    first_start: int,
    windows: int,
    workloads: Mapping[str, str],
    sensitive: Collection[str],
    view: str = "service",
) -> EdgeSeries:
    """Edges of one recording and window length over `windows` windows from `first_start` (UTC epoch seconds) on.

    Windows without traffic are there, edges outside the range are not. The service view carries the pod view of the
    same windows as `.pods`. Raises ValueError for a start that is no multiple of `window_s` or an unknown view.
    """
    if view not in ("pod", "service"):
        raise ValueError(f"unknown view {view!r}; allowed: pod, service")
    if first_start % window_s:
        raise ValueError(f"first_start must be a multiple of {window_s} s (got {first_start})")
    stop = first_start + windows * window_s
    filters = [
        ("recording", "==", recording),
        ("window_s", "==", window_s),
        ("window_start", ">=", first_start),
        ("window_start", "<", stop),
    ]
    frame = pq.read_table(edges_parquet, filters=filters).to_pandas()
    pods = _series(frame[frame["view"] == "pod"], window_s, first_start, windows, workloads, sensitive, None)
    if view == "pod":
        return pods
    return _series(frame[frame["view"] == "service"], window_s, first_start, windows, workloads, sensitive, pods)


def _series(
    frame: pd.DataFrame,
    window_s: int,
    first_start: int,
    windows: int,
    workloads: Mapping[str, str],
    sensitive: Collection[str],
    pods: EdgeSeries | None,
) -> EdgeSeries:
    keys = ["client", "server", "server_port", "proto"]
    edges = frame[keys].drop_duplicates().sort_values(keys, ignore_index=True)
    table = frame.merge(edges.assign(edge=np.arange(len(edges), dtype=np.int64)), on=keys, how="left")
    table["window"] = (table["window_start"] - first_start) // window_s
    table = table.sort_values(["window", "edge"], ignore_index=True)[["window", "edge", *COUNTERS]]
    return EdgeSeries(
        window_s=window_s,
        window_start=first_start + window_s * np.arange(windows, dtype=np.int64),
        edges=tuple(EdgeKey(str(c), str(s), int(p), str(proto)) for c, s, p, proto in edges.itertuples(index=False)),
        table=table,
        workloads=dict(workloads),
        sensitive=frozenset(sensitive),
        pods=pods,
    )
