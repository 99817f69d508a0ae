"""Edges outside a closed set, and what to say about them (shared by `allowlist` and invariant family I1)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mimir.detectors.base import Reason
from mimir.detectors.columns import canonical, columns_of, total_bytes
from mimir.detectors.leakpaths import path_through, technique_of
from mimir.detectors.pods import pods_behind, real_names
from mimir.flows.edges import EdgeKey, EdgeSeries, Window, is_outside
from mimir.units import format_bytes

SHOWN = 5  #: edges named in one window


def novel_edges(series: EdgeSeries, allowed: Sequence[EdgeKey]) -> NDArray[np.float64]:
    """(E,) 1.0 where the edge is not in the closed set, else 0.0."""
    known = set(allowed)
    return np.array([canonical(key, series.workloads) not in known for key in series.edges], dtype=np.float64)


def what_is_new(edge: EdgeKey, allowed: Sequence[EdgeKey]) -> str:
    """The part of an edge that training never showed, in words.

    >>> what_is_new(EdgeKey("a", "b", 81, "tcp"), [EdgeKey("a", "b", 80, "tcp")])
    'a known pair on a new port'
    """
    pairs = {(k.client, k.server) for k in allowed}
    nodes = {n for pair in pairs for n in pair}
    if (edge.client, edge.server) in pairs:
        return "a known pair on a new port"
    if (edge.server, edge.client) in pairs:
        return "a known pair, but opened from the other side"
    if is_outside(edge.server) and edge.server not in nodes:
        return "a destination outside never seen in training"
    return "a pair never seen in training"


def novelty_reasons(window: Window, allowed: Sequence[EdgeKey], family: str) -> list[Reason]:
    """One reason per new edge with traffic in this window, most bytes first, at most SHOWN."""
    series, row = window.series, total_bytes(window.series)[window.index]
    new = novel_edges(series, allowed) > 0
    order = [i for i in np.argsort(-row, kind="stable") if new[i] and row[i] > 0][:SHOWN]
    return [_reason(window, int(i), float(row[i]), allowed, family) for i in order]


def _reason(window: Window, index: int, observed: float, allowed: Sequence[EdgeKey], family: str) -> Reason:
    series, edge = window.series, window.series.edges[index]
    column = canonical(edge, series.workloads)
    path, counter = data_path(window, index)
    text = (
        f"{edge.client} → {edge.server}:{edge.server_port}/{edge.proto} is {what_is_new(column, allowed)}; "
        f"{format_bytes(observed)} in this window ({family}, closed set)"
    )
    payload = float(series.dense(counter)[window.index, index])
    span = slice(window.index, window.index + 1)
    return Reason(
        family, text, edge.client, edge.server, edge.server_port, observed, 0.0, "bytes",
        path=path, pods=pods_behind(series, span, column, counter, 0.0),
        bytes_estimate=payload, bytes_low=0.0, bytes_high=max(observed, payload), technique=technique_of(path, edge), proto=edge.proto,
    )  # fmt: skip


def data_path(window: Window, index: int) -> tuple[tuple[str, ...], str]:
    """The chain that data on this edge belongs to (store … outside as far as known), and the counter it rides in.

    It moves outwards where one end is outside, else with the heavier payload.
    """
    series, edge = window.series, window.series.edges[index]
    up = series.dense("request_payload_bytes")[window.index, index]
    down = series.dense("response_payload_bytes")[window.index, index]
    forward = is_outside(edge.server) or (up >= down and not is_outside(edge.client))
    client, server = canonical(edge, series.workloads)[:2]
    source, sink = (client, server) if forward else (server, client)
    columns = columns_of(series)
    row = columns.fold(total_bytes(series)[window.index][None])[0]
    used = [key for key, carried in zip(columns.keys, row, strict=True) if carried > 0]
    path = path_through(used, series.sensitive, source, sink)
    return real_names(path, series, window.index), "request_payload_bytes" if forward else "response_payload_bytes"
