"""What an attacker who watched the benign fit recording knows of the edge that will carry the leak."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from mimir.errors import MimirError
from mimir.spec.exfiltration import ExfiltrationSpec

MESSAGES_PER_WINDOW = 10  #: an adaptive leak sends at least this often, so that no window is overfilled by one message


@dataclass(frozen=True)
class Baseline:
    """Benign traffic of one edge, estimated from the fit recording alone."""

    edge: str
    window_s: int
    bytes_per_min: float  #: IP bytes of both directions
    residual_sigma_bytes: float  #: per window, of bytes given exchanges


def needs_baseline(spec: ExfiltrationSpec) -> bool:
    """Does the leak depend on what the fit recording shows?"""
    return spec.channel != "none" and (spec.rate_share_of_edge is not None or spec.pacing == "adaptive")


def estimate(edge: str, window_s: int, total_bytes: NDArray[np.float64], exchanges: NDArray[np.float64]) -> Baseline:
    """Baseline from counters per window (T,): bytes = a + b × exchanges by least squares, σ from the median deviation.

    The median absolute deviation × 1.4826 estimates σ of a normal distribution (Rousseeuw and Croux 1993); where it is
    0 the standard deviation is taken. MimirError when the edge carried nothing.
    """
    if not total_bytes.sum() > 0:
        raise MimirError(f"the fit recording has no traffic on {edge}: a leak relative to it has no size")
    design = np.stack([np.ones_like(exchanges), exchanges], axis=1)
    residual = total_bytes - design @ np.linalg.lstsq(design, total_bytes, rcond=None)[0]
    sigma = 1.4826 * float(np.median(np.abs(residual - np.median(residual)))) or float(residual.std())
    per_min = float(total_bytes.mean()) * 60 / window_s
    return Baseline(edge, window_s, round(per_min, 3), round(sigma, 3))


def fitted(spec: ExfiltrationSpec, baseline: Baseline | None) -> ExfiltrationSpec:
    """The scenario with its rate (and, when adaptive, its message size) in bytes, as the baseline says.

    `rate_share_of_edge` replaces the rate. An adaptive leak then stays below `shape.sigmas` × σ stolen bytes in any
    window of `baseline.window_s`, wherever it begins. MimirError when a baseline is needed and none is there, or when
    the edge is too steady to hide two bytes in.
    """
    if not needs_baseline(spec):
        return spec
    if baseline is None:
        raise MimirError("a leak relative to benign traffic cannot be planned before the fit recording is there")
    rate = spec.rate_bytes_per_min
    if spec.rate_share_of_edge is not None:
        rate = spec.rate_share_of_edge * baseline.bytes_per_min
    if spec.pacing != "adaptive":
        return replace(spec, rate_bytes_per_min=rate)
    most = int(spec.shape.sigmas * baseline.residual_sigma_bytes)
    if most < 2:
        raise MimirError(
            f"{baseline.edge} is too steady: {spec.shape.sigmas:g} σ are {most} B in {baseline.window_s} s"
        )
    message = max(1, min(spec.bytes_per_message, most // MESSAGES_PER_WINDOW))
    rate = min(rate, (most - message) * 60 / baseline.window_s)
    return replace(spec, rate_bytes_per_min=rate, bytes_per_message=message)
