"""From columns back to things that exist: the pods that carried it, the client that was outside."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mimir.detectors.columns import ANYONE, canonical
from mimir.flows.edges import EdgeKey, EdgeSeries


def pods_behind(series: EdgeSeries, span: slice, column: EdgeKey, counter: str, expected: float) -> tuple[str, ...]:
    """Client and server pod of the pod-level edge with the largest excess of `counter` over its share of `expected`.

    Shares follow exchanges. `span` are windows of the series. () without a pod view or where nothing was carried.
    """
    pods = series.pods
    if pods is None or len(pods) != len(series):
        return ()
    mine = [i for i, key in enumerate(pods.edges) if canonical(key, pods.workloads) == column]
    carried = pods.dense(counter)[span][:, mine].sum(axis=0)
    if not carried.any():
        return ()
    calls: NDArray[np.float64] = pods.dense("exchanges")[span][:, mine].sum(axis=0)
    share = calls / calls.sum() if calls.any() else np.full(len(mine), 1 / len(mine))
    best = pods.edges[mine[int(np.argmax(carried - expected * share))]]
    return tuple(name for name in (best.client, best.server) if name in pods.workloads)


def present(column: EdgeKey, series: EdgeSeries, window: int) -> EdgeKey:
    """The edge of the series that stands for a column in this window: the one with most packets, else the first.

    A column may fold several edges (pods of one service, outside clients); reasons name things that exist.
    """
    mine = [i for i, key in enumerate(series.edges) if key == column or canonical(key, series.workloads) == column]
    if not mine:
        return column
    packets = series.dense("request_packets")[window, mine] + series.dense("response_packets")[window, mine]
    return series.edges[mine[int(np.argmax(packets))]]


def real_names(nodes: Sequence[str], series: EdgeSeries, window: int) -> tuple[str, ...]:
    """Nodes of columns as nodes of the series: `outside:*` becomes the outside client with most packets in the window."""
    if ANYONE not in nodes:
        return tuple(nodes)
    mine = [k for k in series.edges if canonical(k, series.workloads).client == ANYONE]
    client = present(mine[0]._replace(client=ANYONE), series, window).client if mine else ANYONE
    return tuple(client if node == ANYONE else node for node in nodes)
