"""Small series written out by hand, for pins."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from mimir.flows.edges import COUNTERS, EdgeKey, EdgeSeries

START = 1_700_000_040


def tcp(client: str, server: str, port: int = 80) -> EdgeKey:
    """A TCP edge."""
    return EdgeKey(client, server, port, "tcp")


def series(
    counters: Mapping[EdgeKey, Mapping[str, Sequence[float]]],
    window_s: int = 60,
    sensitive: Sequence[str] = (),
) -> EdgeSeries:
    """Counters given by edge and name (others are 0), one value a window; edges sorted by key."""
    keys = tuple(sorted(counters))
    frames = []
    for number, key in enumerate(keys):
        length = len(next(iter(counters[key].values())))
        frame = pd.DataFrame({c: counters[key].get(c, np.zeros(length)) for c in COUNTERS}, dtype=float)
        frame.insert(0, "edge", number)
        frame.insert(0, "window", np.arange(length))
        frames.append(frame)
    table = pd.concat(frames, ignore_index=True)
    starts = START + window_s * np.arange(int(table["window"].max()) + 1, dtype=np.int64)
    return EdgeSeries(window_s, starts, keys, table, {}, frozenset(sensitive))
