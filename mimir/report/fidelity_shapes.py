"""How far distributions of packet sizes and connection lengths are apart: between the clusters, and between recordings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mimir.report.fidelity_compare import CHANCE, EDGE, MODEL, OFF, REAL, TOLERANCE, WITHIN

LEAST_COUNT = 200  #: packets or connections on either side
LENGTH_STEPS, SHORTEST_S = 10, 1e-6  #: of the lengths table (mimir.pipeline.fidelity.packets)
Floats = NDArray[np.float64]


def jensen_shannon(p: Floats, q: Floats) -> float:
    """Divergence in bits, 0 … 1 (Lin 1991) of two histograms over the same bins.

    >>> jensen_shannon(np.array([1.0, 0.0]), np.array([0.0, 2.0])), jensen_shannon(np.array([1.0, 3.0]), np.array([2.0, 6.0]))
    (1.0, 0.0)
    """
    p, q = p / p.sum(), q / q.sum()
    middle = (p + q) / 2

    def divergence(one: Floats) -> float:
        there = one > 0
        return float((one[there] * np.log2(one[there] / middle[there])).sum())

    return (divergence(p) + divergence(q)) / 2


def wasserstein(p: Floats, q: Floats, at: Floats) -> float:
    """Mean distance that must be moved, in units of `at` (ascending places of the bins).

    >>> wasserstein(np.array([1.0, 0.0]), np.array([0.0, 1.0]), np.array([40.0, 100.0]))
    60.0
    """
    apart = np.abs(np.cumsum(p / p.sum()) - np.cumsum(q / q.sum()))[:-1]
    return float((apart * np.diff(at)).sum())


def kolmogorov(p: Floats, q: Floats) -> float:
    """Largest distance of the distribution functions, 0 … 1."""
    return float(np.abs(np.cumsum(p / p.sum()) - np.cumsum(q / q.sum())).max())


def sizes_apart(sizes: pd.DataFrame) -> pd.DataFrame:
    """app, EDGE, way, mean sizes, Jensen–Shannon (bits), Wasserstein (B), the same between real recordings, verdict."""
    return pd.DataFrame(list(_sizes(sizes)))


def _sizes(table: pd.DataFrame) -> Iterator[dict[str, object]]:
    for key, part in table.groupby(["app", *EDGE, "way"], sort=True):
        at = np.array(sorted(part["size"].unique()), dtype=float)
        real, model = (_histogram(part[part["cluster"] == c], "size", at) for c in (REAL, MODEL))
        if min(real.sum(), model.sum()) < LEAST_COUNT:
            continue
        of = {str(n): _histogram(p, "size", at) for n, p in part[part["cluster"] == REAL].groupby("recording")}
        distance, noise = wasserstein(real, model, at), _largest(of, at)
        mean = float((real * at).sum() / real.sum())
        yield dict(zip(["app", *EDGE, "way"], key, strict=True)) | {
            "mean_real": mean, "mean_simulated": float((model * at).sum() / model.sum()),
            "jensen_shannon": jensen_shannon(real, model), "wasserstein": distance, "between_recordings": noise,
            "verdict": WITHIN if distance <= TOLERANCE * mean else CHANCE if distance <= noise else OFF,
        }  # fmt: skip


def _histogram(part: pd.DataFrame, column: str, at: Floats) -> Floats:
    return np.bincount(np.searchsorted(at, part[column]), part["count"], len(at)).astype(float)


def _largest(of: Mapping[str, Floats], at: Floats) -> float:
    """Largest distance between two recordings of the real cluster: what chance does."""
    pairs = [wasserstein(of[a], of[b], at) for a in of for b in of if a < b and of[a].sum() and of[b].sum()]
    return max(pairs, default=0.0)


def lengths_apart(lengths: pd.DataFrame) -> pd.DataFrame:
    """app, EDGE, connections of both sides that began in the recordings, median lengths (s), Kolmogorov distance."""
    return pd.DataFrame(list(_lengths(lengths)))


def _lengths(table: pd.DataFrame) -> Iterator[dict[str, object]]:
    for key, part in table.groupby(["app", *EDGE], sort=True):
        at = np.arange(int(part["step"].max()) + 1, dtype=float)
        real, model = (_histogram(part[part["cluster"] == c], "step", at) for c in (REAL, MODEL))
        if not real.sum() and not model.sum():
            continue
        both = min(real.sum(), model.sum()) > 0
        yield dict(zip(["app", *EDGE], key, strict=True)) | {
            "connections_real": int(real.sum()), "connections_simulated": int(model.sum()),
            "median_real_s": _median(real), "median_simulated_s": _median(model),
            "kolmogorov": kolmogorov(real, model) if both else np.nan,
        }  # fmt: skip


def _median(histogram: Floats) -> float:
    """Middle of the step that holds the median, s."""
    if not histogram.sum():
        return float("nan")
    step = int(np.searchsorted(np.cumsum(histogram), histogram.sum() / 2))
    return float(SHORTEST_S * 10 ** ((step + 0.5) / LENGTH_STEPS))
