"""Which node broke the invariants around it: causal anomalies on a vanishing network (Cheng, Zhang, Chen, Jiang & Wang, KDD 2016)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

DAMPING = 0.6  #: c, how far an anomaly spreads along invariants
SPARSITY = 0.02  #: τ, price of one more causal node
ROUNDS = 100  #: multiplicative updates


def spread_matrix(network: Array, damping: float = DAMPING) -> Array:
    """(N, N) H = (1 − c)(I − c D^−½ A D^−½)^−1: r = H e is where an anomaly e is felt."""
    degree = np.maximum(network.sum(axis=0), 1e-300)
    scale = np.where(network.any(axis=0), 1 / np.sqrt(degree), 0.0)
    return np.asarray((1 - damping) * np.linalg.inv(np.eye(len(network)) - damping * scale[:, None] * network * scale))


def objective(cause: Array, network: Array, broken: Array, spread: Array) -> float:
    """‖(r rᵀ) ∘ A − B‖² + τ ‖e‖₁ with r = H e."""
    felt = spread @ cause
    return float(((np.outer(felt, felt) * network - broken) ** 2).sum() + SPARSITY * cause.sum())


def rank_causes(network: Array, broken: Array) -> Array:
    """(N,) e ≥ 0, how much each node explains what broke: minimises `objective` by the paper's multiplicative update.

    `network` (N, N) is 1 where an invariant holds in training, `broken` (N, N) in [0, 1] where it broke; both symmetric.
    """
    spread, cause = spread_matrix(network), np.full(len(network), 0.5)
    for _ in range(ROUNDS):
        felt = spread @ cause
        pull = 4 * spread.T @ (broken @ felt)
        push = 4 * spread.T @ ((network * np.outer(felt, felt)) @ felt) + SPARSITY
        cause = cause * (pull / np.maximum(push, 1e-300)) ** 0.25
    return cause
