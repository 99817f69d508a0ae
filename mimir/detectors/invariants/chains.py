"""PathGLR, tests for a leak: one statistic per invariant, and one per leak path and message size.

A leak of r bytes a window in messages of m bytes over a path changes the residuals by r h: its bytes and r/m requests on
every hop, less what the regressions explain away. With standardised residuals z, h in units of σ(t) and the shrunk
correlation C of the residuals, the best linear statistic is T = Σ wᵀz / √(Σ wᵀCw), w = C⁻¹h, over the last K windows, and
r̂ = Σ wᵀz / Σ wᵀh (generalised likelihood ratio; Basseville & Nikiforov 1993, section 7.2). Weights whose sign is not that of
h are left out: they would count it as evidence of a leak that something else carried less than expected, which holds only
while residuals keep the correlation of training to the last percent.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mimir.detectors.invariants.targets import (
    CALLS,
    CLEAN,
    COUNT,
    KINDS,
    NAMES,
    REPLIES,
    REQUESTS,
    Invariant,
    Residuals,
    Target,
)
from mimir.detectors.leakpaths import Hop, LeakPath

Array = NDArray[np.float64]

MEMBERS = len(KINDS)  #: invariants a hop
MESSAGE_SIZES = (1024.0, 4096.0, 16384.0)  #: bytes a message that are tried, beside bytes alone and messages alone
SHRINK = 30.0  #: windows' worth of belief that residuals of different edges are uncorrelated
RECENT = 3  #: a part at most 1/RECENT of the K windows long, up to now, must still show …
STILL = 1.2  #: … 1/STILL of the mean excess, or the leak counts as over
CLIP = 6.0  #: statistics further from their median than this are cut before their scatter is taken
POOLED = 10.0  #: independent stretches' worth of belief in the scale common to all tests


class Test(NamedTuple):
    """What a leak would do to some invariants: `weights` in their units per leaked byte (or message) a window.

    `chain` is the number of the leak path, -1 for a single invariant; `message` the bytes a message is supposed to hold
    (inf: bytes alone, 0: messages alone). Members of a chain come hop by hop, MEMBERS a hop.
    """

    members: tuple[int, ...]
    weights: tuple[float, ...]
    chain: int
    message: float


def tests_of(invariants: Sequence[Invariant], dns: Sequence[bool], paths: Sequence[LeakPath]) -> list[Test]:
    """One test per invariant, then one per chain and message size. Chains through DNS replies are left out."""
    position = {invariant.target: i for i, invariant in enumerate(invariants)}
    out = [Test((i,), (1.0,), -1, np.inf) for i in range(len(invariants))]
    for number, path in enumerate(paths):
        if any(dns[hop.edge] and hop.reply for hop in path.hops):
            continue
        members = members_of(path.hops, position, dns)
        names = sum(dns[hop.edge] for hop in path.hops)
        out += _one_kind(members, number, len(path.hops) > names > 0)
        if not names:
            sized = tuple(m for m in members if invariants[m].target.kind != CLEAN)
            per_byte, per_message = signature(invariants, sized, path.hops)
            out += [
                Test(sized, tuple((per_byte + per_message / size).tolist()), number, size) for size in MESSAGE_SIZES
            ]
    return out


def _one_kind(members: tuple[int, ...], number: int, mixed: bool) -> list[Test]:
    """Bytes alone, by OWN and by CLEAN, and messages alone.

    No counts where only part of a path runs over DNS: a name holds far less than a message, so a leak does not add equally
    many requests to every hop.
    """
    kinds = [(k, 0.0 if kind == COUNT else np.inf) for k, kind in enumerate(KINDS) if not (mixed and kind == COUNT)]
    ones = (1.0,) * (len(members) // MEMBERS)
    return [Test(members[k::MEMBERS], ones, number, message) for k, message in kinds]


def members_of(hops: Sequence[Hop], position: Mapping[Target, int], dns: Sequence[bool]) -> tuple[int, ...]:
    """Invariants that a leak over these hops breaks: OWN, CLEAN and COUNT of each."""
    wanted = [
        Target(h.edge, CALLS if kind == COUNT else carrier(bool(dns[h.edge]), h.reply), kind)
        for h in hops
        for kind in KINDS
    ]
    return tuple(position[target] for target in wanted)


def carrier(dns: bool, reply: bool) -> str:
    """The counter in which data on a hop rides."""
    return NAMES if dns else REPLIES if reply else REQUESTS


def signature(invariants: Sequence[Invariant], members: Sequence[int], hops: Sequence[Hop]) -> tuple[Array, Array]:
    """(members,) change of the residuals per leaked byte and per message a window.

    A message is a request on every hop; regressions that have these requests among their regressors explain part of it
    away, and that part is taken off.
    """
    touched = {hop.edge for hop in hops}
    counts = np.array([invariants[m].target.counter == CALLS for m in members])
    explained = np.array([invariants[m].explains(touched) for m in members])
    return np.where(counts, 0.0, 1.0), np.where(counts, 1.0, 0.0) - explained


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
    return _last(np.cumsum(values, axis=0), length)


def _last(total: Array, length: int) -> Array:
    """Sums over the last `length` windows from sums over all windows so far."""
    out: Array = total.copy()
    out[length:] -= total[:-length]
    return out


def ends(cut: Array, length: int) -> Array:
    """(T,) variance of what windows cut off, in sums over the last `length` of them; `cut` (T, members) as in `Signal`.

    What is lacking at an end of a window is too much in the window beyond it: ½ Σ (aₜ − aₜ₋₁)² inside a sum, ½ a² at its two ends.
    """
    inside = np.zeros(len(cut))
    inside[1:] = np.cumsum((np.diff(cut, axis=0) ** 2).sum(axis=1))
    first, own = np.maximum(np.arange(len(cut)) - length + 1, 0), (cut**2).sum(axis=1)
    return np.asarray((inside - inside[first] + own + own[first]) / 2)


def weights_of(h: Array, inner: Array) -> Array:
    """(…, members) weights w of residuals, none against the sign of h, scaled so that wᵀCw = wᵀh (as C⁻¹h is)."""
    if h.shape[-1] == 1:
        return h
    w = h @ np.linalg.inv(inner)
    w = np.where(w * h > 0, w, 0.0)
    scale = (w * h).sum(axis=-1) / np.maximum(((w @ inner) * w).sum(axis=-1), 1e-300)
    return np.asarray(w * scale[..., None])


class Signal(NamedTuple):
    """Per window: wᵀz, the variance wᵀCw of its noise, and (T, members) the weights of errors that neighbouring windows share, and
    of what the ends of windows cut off."""

    signal: Array
    power: Array
    shared: Array
    cut: Array


def signal_of(test: Test, z: Array, residuals: Residuals, corr: Array) -> Signal:
    """From (T, M) normal equivalents `z` of residuals, and their scales.

    Weights are those of windows that cut nothing off: what one lacks the next has too much, so that sums over windows have only
    their noise.
    """
    members = list(test.members)
    sigma, cut = residuals.sigma[:, members], residuals.cut[:, members]
    g = 1.0 / np.sqrt(sigma**2 - cut**2)
    h = g * np.array(test.weights)
    weighted = weights_of(h, corr[np.ix_(members, members)])
    power = np.maximum((weighted * h).sum(axis=1), 1e-300)
    g *= weighted
    return Signal((g * sigma * z[:, members]).sum(axis=1), power, g * residuals.shared[:, members], g * cut)


def estimate_of(
    members: Sequence[int], signatures: Array, z: Array, spread: Array, residuals: Residuals, corr: Array
) -> Signal:
    """The generalised least squares estimate of the first of the amplitudes of `signatures` (A, members).

    `z` (T, M) are residuals in units of σ times `spread` (M,). All are estimated together over the given windows. The mean of `signal` is the estimate, `power` its variance in each window.
    """
    chosen = list(members)
    inner = corr[np.ix_(chosen, chosen)]
    g = 1.0 / (residuals.sigma[:, chosen] * spread[chosen])
    h = g[:, None, :] * signatures  # (T, A, members)
    weighted = h @ np.linalg.inv(inner)
    gram = np.einsum("tam,tbm->ab", weighted, h)
    pick = len(h) * (np.linalg.pinv(gram)[0] @ weighted)  # (T, members)
    power = ((pick @ inner) * pick).sum(axis=1)
    g *= pick * spread[chosen]
    shared, cut = residuals.shared[:, chosen], residuals.cut[:, chosen]
    return Signal((pick * z[:, chosen]).sum(axis=1), power, g * shared, g * cut)


def statistic(test: Signal, length: int) -> Array:
    """T over the last `length` windows (fewer at the start of a series)."""
    return window_sums(test.signal, length) / np.sqrt(variance(test, length))


def statistics(test: Signal, lengths: Sequence[int]) -> Array:
    """(T, K) T over the last K windows for every K, from sums that are made once; the same as `statistic` but for rounding."""
    signal, power = np.cumsum(test.signal), np.cumsum(test.power)
    shared, squares = np.cumsum(test.shared, axis=0), np.cumsum((test.shared**2).sum(axis=1))
    out = np.empty((len(signal), len(lengths)))
    for k, length in enumerate(lengths):
        linear = (_last(shared, length) ** 2).sum(axis=1) - _last(squares, length) if length > 1 else 0.0
        total = _last(power, length) + np.maximum(linear, 0.0) + ends(test.cut, length)
        out[:, k] = _last(signal, length) / np.sqrt(np.maximum(total, 1e-300))
    return out


def held(z: Array, lengths: Sequence[int]) -> Array:
    """(T, K) standardised statistics; a long sum falls back to its recent parts where these no longer show the excess.

    Without it a sum would report a leak long after its end. A steady leak gives the last r of K windows z √(r/K) ± 1.
    """
    out = z.copy()
    for k, length in enumerate(lengths):
        shorter = [r for r, other in enumerate(lengths) if other * RECENT <= length]
        for r in [r for r in shorter if lengths[r] > 1] or shorter:  # a lone window is too noisy to end a long sum
            over = z[:, r] < z[:, k] * np.sqrt(lengths[r] / length) / STILL
            out[:, k] = np.where(over, np.minimum(out[:, k], np.maximum(z[:, r], 0.0)), out[:, k])
    return out


def variance(test: Signal, length: int) -> Array:
    """Variance of the summed signal: noise of each window, errors of the fit, which do not average out, and what the ends cut off."""
    linear = (window_sums(test.shared, length) ** 2 - window_sums(test.shared**2, length)).sum(axis=1)
    out: Array = window_sums(test.power, length) + np.maximum(linear, 0.0) + ends(test.cut, length)
    return np.maximum(out, 1e-300)


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
