"""The blind-spot map: how much could leave over each path without an alert, stated before any leak was seen.

T over K windows exceeds its alarm level z with probability ½ when r = z √Var(Σ hᵀC⁻¹z) / Σ hᵀC⁻¹h bytes a window leave
(`chains.py`), so the rate printed is the one that half of the windows would miss. Taken at the median window of the given
recording, at the chosen alert budget, for the K that needs least.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from mimir.detectors.combination import Combination
from mimir.detectors.invariants import chains, tails
from mimir.detectors.invariants.volume import Volume
from mimir.detectors.invariants.words import NAME_CARRIES
from mimir.flows.edges import EdgeSeries

Array = NDArray[np.float64]

MINUTE_S = 60
USUAL_MESSAGE = 4096.0  #: bytes a message of the first column; the other supposes few and large ones
MOST_SURPRISE = 60.0
MOST_BYTES, HALVINGS = 1e12, 30


def blind_spots(
    volume: Volume, combination: Combination, windows: EdgeSeries, threshold: float
) -> list[dict[str, Any]]:
    """One row a path, the worst first; rates in stolen bytes a minute, None where no test of the kind exists.

    `sigma_bytes`: standard error of the bytes leaked in one window, bytes alone.
    """
    evidence = volume.evidence(windows)
    gain, minutes = 1.0 / evidence.residuals.uncut().sigma, volume_minutes(windows)
    found: dict[int, dict[str, Any]] = {}
    for number, test in enumerate(volume.tests):
        if test.chain < 0 or test.message not in (np.inf, USUAL_MESSAGE):
            continue
        path = volume.paths[test.chain]
        dns = any(volume.dns[hop.edge] for hop in path.hops)
        needed = _raw_surprise(combination, "I3 DNS" if dns else "I3", threshold)
        signal = chains.signal_of(test, evidence.normal, evidence.residuals, volume.correlation)
        rate, length = _smallest(volume, number, gain, signal, needed)
        carried = NAME_CARRIES[1] if dns else 1.0
        row = found.setdefault(test.chain, {"path": list(path.nodes), "dns": dns, "sigma_bytes": None,
                                            "rate_small_messages": None, "rate_large_messages": None, "sum_s": None})  # fmt: skip
        key = "rate_large_messages" if test.message == np.inf else "rate_small_messages"
        value = rate * carried / minutes
        if row[key] is None or value < row[key]:
            row[key], row["sum_s"] = value, length * windows.window_s
        if test.message == np.inf:
            sigma = carried / float(np.sqrt(np.median(signal.power)))
            row["sigma_bytes"] = sigma if row["sigma_bytes"] is None else min(row["sigma_bytes"], sigma)
    return sorted(found.values(), key=lambda r: (-_best(r), r["path"]))


def volume_minutes(windows: EdgeSeries) -> float:
    """Length of a window in minutes."""
    return windows.window_s / MINUTE_S


def _best(row: dict[str, Any]) -> float:
    rates = [r for r in (row["rate_small_messages"], row["rate_large_messages"]) if r is not None]
    return min(rates, default=np.inf)


def _raw_surprise(combination: Combination, part: str, threshold: float) -> float:
    """Surprise of a part at which the combined score reaches the threshold, before it is bent."""
    grid = np.linspace(0.0, MOST_SURPRISE, 6001)
    reached = combination.part(part, grid) + np.log10(combination.weights[part]) >= threshold
    bent = float(grid[int(reached.argmax())]) if reached.any() else MOST_SURPRISE
    return bent if bent <= tails.BEND else tails.BEND * float(np.exp(bent / tails.BEND - 1))


def _smallest(volume: Volume, number: int, gain: Array, signal: chains.Signal, surprise: float) -> tuple[float, int]:
    """Bytes a window that reach this surprise in half of the windows, and the K that needs least."""
    test, best = volume.tests[number], (np.inf, 1)
    members = list(test.members)
    h = np.median(gain[:, members], axis=0) * np.array(test.weights)
    weighted = chains.weights_of(h, volume.correlation[np.ix_(members, members)])
    for k, length in enumerate(volume.lengths):
        p = 10.0 ** -min(surprise + float(volume.price[number]), 300.0)
        z = -float(stdtrit(volume.freedom[k], p)) * float(volume.scale[number, k]) + float(volume.location[number, k])
        steady = slice(min(length, len(signal.power)) - 1, None)
        root = float(np.median(np.sqrt(chains.variance(signal, length)[steady])))
        best = min(best, (_rate(volume, members, h, weighted, z * root / length), length))
    return best


def _rate(volume: Volume, members: list[int], h: Array, weighted: Array, wanted: float) -> float:
    """r at which the weighted normal equivalents of r h reach `wanted`: a large excess counts logarithmically."""
    stretch, unit = volume.stretch[members], volume.unit[members]

    def reached(rate: float) -> bool:
        return bool(float(weighted @ tails.normal_equivalent(rate * h, stretch, unit)) >= wanted)

    low, high = 0.0, 1.0
    while not reached(high) and high < MOST_BYTES:
        low, high = high, 2 * high
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        low, high = (low, middle) if reached(middle) else (middle, high)
    return high
