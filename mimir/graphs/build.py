"""Edge rows → networkx graphs. An arrow points from the client to the server, whichever way the data goes."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

import networkx as nx
import pandas as pd
import pyarrow.parquet as pq

from mimir.flows.edges import COUNTERS, EdgeSeries, is_outside

NODE, SERVICE = "node:", "service:"


def node_kind(name: str, view: str, workloads: Mapping[str, str]) -> str:
    """What a node is: outside, node, pod, service or address (nobody is known to own it).

    >>> node_kind("outside:users", "pod", {}), node_kind("user-0", "pod", {"user-0": "user"})
    ('outside', 'pod')
    """
    if is_outside(name):
        return "outside"
    if name.startswith(NODE):
        return "node"
    if name in workloads:
        return "pod" if view == "pod" or name not in workloads.values() else "service"
    if name.startswith(SERVICE) or name in workloads.values():
        return "service"
    return "address" if name.replace(".", "").isdigit() or ":" in name else "service"


def graph_of(
    rows: pd.DataFrame, view: str, workloads: Mapping[str, str] | None = None, sensitive: Collection[str] = ()
) -> nx.DiGraph:
    """Rows with `client, server, server_port, proto` and COUNTERS → one arrow for each pair of nodes.

    Arrows carry the sum of every counter, `bytes`, `packets` (both directions) and `ports` (`"80/tcp 443/tcp"`). Nodes
    carry `kind`, `workload` (the pod's; the name itself elsewhere) and `sensitive` (by workload). Nodes and arrows are
    in alphabetic order.
    """
    workloads = workloads or {}
    graph = nx.DiGraph(view=view)
    for name in sorted({*rows["client"], *rows["server"]}):
        workload = workloads.get(name, name)
        kind = node_kind(name, view, workloads)
        graph.add_node(name, kind=kind, workload=workload, sensitive=workload in sensitive)
    sums = rows.groupby(["client", "server"], sort=True)[list(COUNTERS)].sum()
    ends = rows[["client", "server", "server_port", "proto"]].drop_duplicates()
    ports: dict[tuple[str, str], list[tuple[int, str]]] = {}
    for client, server, port, proto in ends.itertuples(index=False):
        ports.setdefault((client, server), []).append((int(port), str(proto)))
    for (client, server), row in zip(sums.index, sums.to_dict("records"), strict=True):
        values = {str(name): int(value) for name, value in row.items()}
        values["bytes"] = values["request_bytes"] + values["response_bytes"]
        values["packets"] = values["request_packets"] + values["response_packets"]
        listed = " ".join(f"{port}/{proto}" for port, proto in sorted(ports[client, server]))
        graph.add_edge(client, server, **values, ports=listed)
    return graph


def build_graph(series: EdgeSeries, first: int = 0, last: int | None = None, view: str = "service") -> nx.DiGraph:
    """Graph of the windows `first` … `last` (exclusive; all by default) of a series. Raises IndexError outside of it."""
    stop = len(series) if last is None else last
    if not 0 <= first <= stop <= len(series):
        raise IndexError(f"windows {first} to {stop} of a series of {len(series)}")
    keys = pd.DataFrame(list(series.edges), columns=["client", "server", "server_port", "proto"])
    rows = series.table[series.table["window"].between(first, stop - 1)]
    return graph_of(rows.join(keys, on="edge"), view, series.workloads, series.sensitive)


def read_rows(edges_parquet: Path, recording: str, window_s: int, view: str) -> pd.DataFrame:
    """Edge rows of one recording, window length and view."""
    filters = [("recording", "==", recording), ("window_s", "==", window_s), ("view", "==", view)]
    rows: pd.DataFrame = pq.read_table(edges_parquet, filters=filters).to_pandas()
    return rows
