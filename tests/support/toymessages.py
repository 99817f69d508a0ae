"""Application fields for series of the toy shop, made from its counters: one request an edge and window, some names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from mimir.flows.edges import EdgeKey, EdgeSeries, is_outside
from tests.support import toyshop

NO_HTTP = (53,)  #: all other ports of the toy speak HTTP here
NAMES = 3  #: queries shown of an edge and window, at most


def with_messages(series: EdgeSeries) -> EdgeSeries:
    """The series, and its pod view, with messages: HTTP requests whose body is the payload of the edge, and DNS queries."""
    pods = with_messages(series.pods) if series.pods is not None else None
    sent, queries = series.dense("request_payload_bytes"), series.dense("dns_queries")
    frames = [_requests(series, i, sent[:, i]) for i, k in enumerate(series.edges) if k.server_port not in NO_HTTP]
    frames += [_queries(series, i, queries[:, i]) for i, k in enumerate(series.edges) if k.server_port == 53]
    columns = ["window", "ts", "sender", "receiver", "port", "http.request.method", "http.host", "http.request.uri",
               "http.user_agent", "http.content_length", "dns.qry.name", "dns.qry.type", "dns.flags.response"]  # fmt: skip
    table = (
        pd.concat([pd.DataFrame(columns=columns, dtype=object), *frames]) if frames else pd.DataFrame(columns=columns)
    )
    table = table.astype({"window": np.int64, "ts": float, "port": np.int64})
    return replace(series, messages=table.sort_values("ts", kind="stable", ignore_index=True), pods=pods)


def _places(series: EdgeSeries, edge: int, windows: np.ndarray) -> dict[str, object]:
    key = series.edges[edge]
    first = {service: pod for pod, service in reversed(series.workloads.items())}
    ends = {"sender": first.get(key.client, key.client), "receiver": first.get(key.server, key.server)}
    starts = series.window_start[windows].astype(float)
    return {"window": windows, "ts": starts + edge % series.window_s, **ends, "port": key.server_port}


def _requests(series: EdgeSeries, edge: int, sent: np.ndarray) -> pd.DataFrame:
    key, windows = series.edges[edge], np.flatnonzero(sent)
    host = series.workloads.get(key.server, key.server)
    fields = {"http.request.method": "POST", "http.host": host, "http.request.uri": "/items/17",
              "http.user_agent": "java/17", "http.content_length": [f"{v:.0f}" for v in sent[windows]]}  # fmt: skip
    return pd.DataFrame({**_places(series, edge, windows), **fields})


def _queries(series: EdgeSeries, edge: int, queries: np.ndarray) -> pd.DataFrame:
    windows = np.repeat(np.arange(len(series)), np.minimum(queries, NAMES).astype(int))
    client = series.workloads.get(series.edges[edge].client, series.edges[edge].client)
    turn = np.arange(len(windows)) + len(client)
    choice = np.where(is_outside(series.edges[edge].server), 2, turn % 3)
    names = np.array(["user.shop.svc.cluster.local", "updates.example.com", "telemetry.example.net"])[choice]
    fields = {"dns.qry.name": names, "dns.qry.type": "1", "dns.flags.response": "0"}
    return pd.DataFrame({**_places(series, edge, windows), **fields})


def shop(toy: toyshop.Toy, *leaks: toyshop.Leak, with_pods: bool = True) -> EdgeSeries:
    """`toyshop.shop` with messages."""
    return with_messages(toyshop.shop(toy, *leaks, with_pods=with_pods))


def select(series: EdgeSeries, edges: Sequence[EdgeKey], windows: int | None = None) -> EdgeSeries:
    """`toyshop.select`, with the messages of what is left."""
    return with_messages(toyshop.select(series, edges, windows))


def empty(series: EdgeSeries) -> EdgeSeries:
    """`toyshop.empty`, without any message."""
    return with_messages(toyshop.empty(series))
