"""What services send and take: sums of payload over their edges, and the way back from a service to its edges."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mimir.detectors.columns import NODE, canonical
from mimir.flows.edges import EdgeSeries, is_outside

Array = NDArray[np.float64]


def is_service(node: str) -> bool:
    """True for what is neither outside nor a node of the cluster."""
    return not is_outside(node) and not node.startswith(NODE)


def ends(series: EdgeSeries) -> tuple[list[str], list[str]]:
    """Client and server service of each edge."""
    keys = [canonical(key, series.workloads) for key in series.edges]
    return [k.client for k in keys], [k.server for k in keys]


def in_and_out(series: EdgeSeries) -> tuple[tuple[str, ...], Array, Array]:
    """Services, sorted, and the (T, S) payload bytes that each took and sent in a window."""
    clients, servers = ends(series)
    services = tuple(sorted({s for s in (*clients, *servers) if is_service(s)}))
    up, down = series.dense("request_payload_bytes"), series.dense("response_payload_bytes")
    client, server = membership(clients, services), membership(servers, services)
    return services, up @ server + down @ client, up @ client + down @ server


def membership(names: Sequence[str], services: Sequence[str]) -> Array:
    """(E, S) 1.0 where edge end `names[e]` is service s."""
    place = {service: i for i, service in enumerate(services)}
    out = np.zeros((len(names), len(services)))
    for row, name in enumerate(names):
        if name in place:
            out[row, place[name]] = 1.0
    return out


def share_out(series: EdgeSeries, services: Sequence[str], values: Array) -> Array:
    """(T, S) per service → (T, E) per edge, by each edge's share of the payload that the service sent.

    What a service that sent nothing was given is lost: there is no edge to blame.
    """
    clients, servers = ends(series)
    up, down = series.dense("request_payload_bytes"), series.dense("response_payload_bytes")
    client, server = membership(clients, services), membership(servers, services)
    each = values / np.maximum(up @ client + down @ server, 1e-300)
    return np.asarray(up * (each @ client.T) + down * (each @ server.T))
