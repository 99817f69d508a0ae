"""Tests for a leak: one statistic per edge, and one per chain from a sensitive store to the outside.

A leak of r bytes a window over a chain adds r to every edge of it. With standardised residuals z, gains gₑ = 1/σₑ(t)
and their correlation C, the best linear statistic is T = Σ gᵀC⁻¹z / √(Σ gᵀC⁻¹g) over the last K windows, and
r̂ = Σ gᵀC⁻¹z / Σ gᵀC⁻¹g (generalised likelihood ratio; Basseville & Nikiforov 1993, section 7.2).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mimir.detectors.invariants.targets import CALLS, COUNT, KINDS, NAMES, REPLIES, REQUESTS, Target
from mimir.detectors.leakpaths import LeakPath

Array = NDArray[np.float64]

SHRINK = 30.0  #: windows' worth of belief that residuals of different edges are uncorrelated
RECENT = 3  #: a part at most 1/RECENT of the K windows long, up to now, must still show …
STILL = 2.0  #: … 1/STILL of the mean excess, or the leak counts as over
CLIP = 6.0  #: statistics further from their median than this are cut before their scatter is taken
POOLED = 10.0  #: independent stretches' worth of belief in the scale common to all tests


class Test(NamedTuple):
    """Positions of the invariants summed up, and the number of the chain (-1: a single edge)."""

    members: tuple[int, ...]
    chain: int
    kind: str


def tests_of(targets: Sequence[Target], dns: Sequence[bool], paths: Sequence[LeakPath]) -> list[Test]:
    """One test per invariant, then one per chain and kind.

    Chains through DNS replies are left out, and so are request counts of chains that only partly run over DNS: a name
    holds far less than a message, so a leak does not add equally many requests to every hop.
    """
    position = {target: i for i, target in enumerate(targets)}
    out = [Test((i,), -1, target.kind) for i, target in enumerate(targets)]
    for number, path in enumerate(paths):
        names = sum(dns[hop.edge] for hop in path.hops)
        if any(dns[hop.edge] and hop.reply for hop in path.hops):
            continue
        for kind in KINDS:
            if kind == COUNT and 0 < names < len(path.hops):
                continue
            wanted = [Target(h.edge, _counter(kind, bool(dns[h.edge]), h.reply), kind) for h in path.hops]
            out.append(Test(tuple(position[t] for t in wanted), number, kind))
    return out


def _counter(kind: str, dns: bool, reply: bool) -> str:
    if kind == COUNT:
        return CALLS
    return NAMES if dns else REPLIES if reply else REQUESTS


def correlation(residuals: Array) -> Array:
    """(M, M) correlation of (T, M) benign residuals, drawn towards independence (after Ledoit & Wolf 2004)."""
    windows, count = residuals.shape
    if windows < 2 or not count:
        return np.eye(count)
    centred = residuals - residuals.mean(axis=0)
    scale = np.sqrt((centred**2).mean(axis=0))
    unit = centred / np.where(scale > 0, scale, 1.0)
    out: Array = (unit.T @ unit / windows) * (windows / (windows + SHRINK))
    np.fill_diagonal(out, 1.0)
    return out


def window_sums(values: Array, length: int) -> Array:
    """Sums over the last `length` windows (fewer at the start), along the first axis."""
    total = np.cumsum(values, axis=0)
    out: Array = total.copy()
    out[length:] -= total[:-length]
    return out


class Signal(NamedTuple):
    """Per window: gᵀC⁻¹z, gᵀC⁻¹g, and (T, members) the weight of errors that neighbouring windows share."""

    signal: Array
    power: Array
    shared: Array


def signal_of(test: Test, z: Array, gain: Array, shared: Array, corr: Array) -> Signal:
    """From (T, M) residuals, gains 1/σ and shared parts of σ."""
    members = list(test.members)
    g = gain[:, members]
    weighted = g if len(members) == 1 else np.linalg.solve(corr[np.ix_(members, members)], g.T).T
    power = np.maximum((weighted * g).sum(axis=1), 1e-300)
    return Signal((weighted * z[:, members]).sum(axis=1), power, weighted * g * shared[:, members])


def statistic(test: Signal, length: int) -> Array:
    """T over the last `length` windows (fewer at the start of a series)."""
    return window_sums(test.signal, length) / np.sqrt(variance(test, length))


def held(z: Array, lengths: Sequence[int]) -> Array:
    """(T, K) standardised statistics; a long sum is held down where its recent part no longer shows the excess.

    Without it a sum would report a leak long after its end.
    """
    out = z.copy()
    for k, length in enumerate(lengths):
        recent = max((r for r, other in enumerate(lengths) if other * RECENT <= length), default=k)
        if recent != k:
            limit = STILL * z[:, recent] * np.sqrt(length / lengths[recent])
            out[:, k] = np.minimum(z[:, k], np.maximum(limit, 0.0))
    return out


def variance(test: Signal, length: int) -> Array:
    """Variance of the summed signal: noise of each window, plus errors of the fit, which do not average out."""
    linear = (window_sums(test.shared, length) ** 2 - window_sums(test.shared**2, length)).sum(axis=1)
    out: Array = np.maximum(window_sums(test.power, length) + np.maximum(linear, 0.0), 1e-300)
    return out


def scatter(values: Array) -> tuple[Array, Array]:
    """(K,) median and scatter of (T, K) benign statistics of one test."""
    location = np.median(values, axis=0)
    return location, np.sqrt((np.clip(values - location, -CLIP, CLIP) ** 2).mean(axis=0))


def pooled_scale(spread: Array, stretches: Array, group: NDArray[Any]) -> Array:
    """(N, K) scales, ≥ 1, from the scatter of each test and the number of independent stretches of K windows.

    Residuals of neighbouring windows are not independent, so long sums scatter more than 1; but few stretches fit into
    a short recording, so scales are drawn towards the median of their `group` (N,) by POOLED stretches.
    """
    pooled = np.empty_like(spread)
    for g in np.unique(group):
        pooled[group == g] = np.maximum(np.median(spread[group == g], axis=0), 1.0)
    return np.maximum(np.sqrt((stretches * spread**2 + POOLED * pooled**2) / (stretches + POOLED)), 1.0)
