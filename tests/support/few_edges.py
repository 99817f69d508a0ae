"""Tiny series by hand: total bytes per window and edge, for numbers that can be checked on paper."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from mimir.flows.edges import COUNTERS, EdgeKey, EdgeSeries
from tests.support.toyshop import Toy, to_series


def few(edges: Mapping[tuple[str, str], Sequence[float]], replies: Mapping[tuple[str, str], Sequence[float]] | None = None,
        start: int = 1_700_000_040, port: int = 80) -> EdgeSeries:  # fmt: skip
    """Edges client → server on one port with request bytes `edges` and response bytes `replies`, windows of 60 s.

    Payload equals IP bytes, one packet each way where there are bytes.
    """
    replies = replies or {}
    windows = len(next(iter({**edges, **replies}.values())))
    rows = {}
    for pair in {**edges, **replies}:
        up, down = (np.asarray(d.get(pair, np.zeros(windows)), dtype=np.float64) for d in (edges, replies))
        row = {counter: np.zeros(windows) for counter in COUNTERS}
        row |= {"request_bytes": up, "request_payload_bytes": up, "response_bytes": down}
        row |= {"response_payload_bytes": down, "request_packets": (up > 0) * 1.0, "response_packets": (down > 0) * 1.0}
        rows[EdgeKey(*pair, port, "tcp")] = row
    return to_series(rows, Toy(windows, start=start), {}, None)
