"""Random draws inside compiled loops: one 64-bit counter per component, seeded from numpy's SeedSequence.

The generator is splitmix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators, 2014). A state is an
array of one uint64, so kernels can carry it on from one time slice to the next.
"""

from __future__ import annotations

import math
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from mimir.jit import kernel

State: TypeAlias = NDArray[np.uint64]


def state_of(seed: np.random.SeedSequence) -> State:
    """A fresh state for one component."""
    return seed.generate_state(1, np.uint64).astype(np.uint64)


@kernel(allocates=True)
def next_word(state: State) -> np.uint64:
    """64 random bits."""
    state[0] += np.uint64(0x9E3779B97F4A7C15)
    z = state[0]
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    word: np.uint64 = z ^ (z >> np.uint64(31))
    return word


@kernel(allocates=True)
def uniform(state: State) -> float:
    """A number in [0, 1)."""
    return float(next_word(state) >> np.uint64(11)) * (1.0 / 9007199254740992.0)


@kernel(allocates=True)
def below(state: State, count: int) -> int:
    """A whole number in [0, count)."""
    return int(uniform(state) * count)


@kernel(allocates=True)
def between(state: State, low: float, high: float) -> float:
    """A number in [low, high)."""
    return low + (high - low) * uniform(state)


@kernel(allocates=True)
def normal(state: State) -> float:
    """A standard normal number (Box and Muller 1958)."""
    radius = math.sqrt(-2.0 * math.log(1.0 - uniform(state)))
    return radius * math.cos(2.0 * math.pi * uniform(state))


@kernel(allocates=True)
def lognormal(state: State, log_median: float, sigma: float) -> float:
    """exp(log_median + sigma z); no draw is spent when sigma is 0."""
    if sigma == 0.0:
        return math.exp(log_median)
    return math.exp(log_median + sigma * normal(state))
