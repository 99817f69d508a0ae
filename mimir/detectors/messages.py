"""What detectors need of a series' application fields."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from mimir.flows.edges import EdgeSeries


def messages_with(series: EdgeSeries, columns: Sequence[str]) -> pd.DataFrame | None:
    """Messages of the series' windows in which the first of `columns` is set; None without that column or any messages.

    Columns asked for and not there are null.
    """
    table = series.messages
    if table is None or columns[0] not in table.columns:
        return None
    table = table[table[columns[0]].notna() & (table["window"] < len(series))]
    return table.reindex(columns=["window", "ts", "sender", "receiver", "port", *columns])


def edge_of(series: EdgeSeries, client: str, server: str | None, port: int) -> int | None:
    """Number of the edge a message belongs to: by pod or by service names; any server for None; None if there is none."""
    ends = ({client, series.workloads.get(client, client)}, {server, series.workloads.get(server or "", server)})
    for i, key in enumerate(series.edges):
        if key.server_port == port and key.client in ends[0] and (server is None or key.server in ends[1]):
            return i
    return None
