"""Damped incremental statistics of the packets of an edge (Mirsky et al., NDSS 2018, section IV.C and table I)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mimir.detectors.columns import columns_of
from mimir.flows.edges import EdgeSeries

Array = NDArray[np.float64]
STREAMS = ("request", "response", "client")  #: packets to the server, back, and all requests of the client
JOINT = ("magnitude", "radius", "covariance", "correlation")  #: of requests and responses
NAMES = (*(f"{stream} {what}" for stream in STREAMS for what in ("weight", "mean", "deviation")), *JOINT)


def damped(packets: Array, bytes_: Array, decays: Array) -> Array:
    """(T, C) packets and bytes a window → (T, C, λ, 3) weight, mean and deviation of packet sizes.

    w(t) = Σ_k n_k 2^{−λ (t − k)}, linear and squared sums likewise; mean LS/w, deviation √|SS/w − mean²|. Time is counted in
    windows, and the n packets of a window count as n packets of their mean size.

    >>> damped(np.array([[2.0], [1.0]]), np.array([[200.0], [50.0]]), np.array([1.0]))[1, 0, 0].tolist()  # w 2/2 + 1
    [2.0, 75.0, 25.0]
    """
    sizes = bytes_ / np.maximum(packets, 1.0)
    added = np.stack([packets, bytes_, bytes_ * sizes], axis=-1)[:, :, None, :]
    keep, sums = 2.0 ** -decays[:, None], np.zeros((*packets.shape[1:], len(decays), 3))
    out = np.zeros((len(packets), *sums.shape))
    for t, new in enumerate(added):
        sums = sums * keep + new
        out[t] = sums
    weight = np.maximum(out[..., 0], 1e-20)
    mean = out[..., 1] / weight
    deviation = np.sqrt(np.abs(out[..., 2] / weight - mean**2))
    return np.stack([out[..., 0], mean, deviation], axis=-1)


def joint(sizes: tuple[Array, Array], stats: tuple[Array, Array], decays: Array) -> Array:
    """(T, C, λ, 4) magnitude, radius, approximate covariance and correlation of two streams (table I).

    `sizes` (T, C) are the mean packet sizes of the windows, NaN without packets; `stats` come from `damped`. The sum of
    residual products SR decays like the others; the covariance is SR over its damped count of windows with both streams.
    """
    (one, other), (a, b) = sizes, stats
    both = np.isfinite(one) & np.isfinite(other)
    products = np.where(both[..., None], (one[..., None] - a[..., 1]) * (other[..., None] - b[..., 1]), 0.0)
    keep, total, count = 2.0**-decays, np.zeros(a.shape[1:3]), np.zeros(a.shape[1:3])
    covariance = np.zeros(a.shape[:3])
    for t in range(len(products)):
        total, count = total * keep + products[t], count * keep + both[t][:, None]
        covariance[t] = total / np.maximum(count, 1e-20)
    spread = a[..., 2] * b[..., 2]
    correlation = np.where(spread > 1e-9, covariance / np.where(spread > 1e-9, spread, 1.0), 0.0)
    magnitude, radius = np.hypot(a[..., 1], b[..., 1]), np.hypot(a[..., 2] ** 2, b[..., 2] ** 2)
    return np.stack([magnitude, radius, covariance, np.clip(correlation, -1, 1)], axis=-1)


def edge_features(series: EdgeSeries, decays: Sequence[float]) -> Array:
    """(T, columns, λ · 13) features in the order of NAMES for each λ; the past begins with the series."""
    columns, lam = columns_of(series), np.asarray(decays, dtype=float)
    up, down = (columns.sum(series, f"{way}_packets") for way in ("request", "response"))
    up_bytes, down_bytes = (columns.sum(series, f"{way}_bytes") for way in ("request", "response"))
    clients = {name: i for i, name in enumerate(dict.fromkeys(k.client for k in columns.keys))}
    which = np.array([clients[k.client] for k in columns.keys], dtype=np.int64)
    member = np.zeros((len(columns.keys), len(clients)))
    member[np.arange(len(which)), which] = 1.0
    stats = damped(up, up_bytes, lam), damped(down, down_bytes, lam)
    client = damped(up @ member, up_bytes @ member, lam)[:, which]
    sizes = tuple(np.where(n > 0, b / np.maximum(n, 1.0), np.nan) for n, b in ((up, up_bytes), (down, down_bytes)))
    parts = [*stats, client, joint((sizes[0], sizes[1]), stats, lam)]
    return np.concatenate(parts, axis=-1).reshape(len(series), len(columns.keys), len(lam) * len(NAMES))
