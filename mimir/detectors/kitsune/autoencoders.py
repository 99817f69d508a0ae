"""KitNET: small auto-encoders over groups of correlated features, and one over their errors (NDSS 2018, section V)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
CHUNK = 16_384  #: instances evaluated at once


class Training(NamedTuple):
    """How weights are learned."""

    hidden_share: float
    learning_rate: float
    epochs: int
    batch: int


def feature_groups(x: Array, most: int) -> list[list[int]]:
    """Features that move together, at most `most` a group: single linkage on 1 − correlation, cut until groups fit."""
    from scipy.cluster.hierarchy import linkage, to_tree
    from scipy.spatial.distance import squareform

    centred = x - x.mean(axis=0)
    length = np.sqrt((centred**2).sum(axis=0))
    unit = centred / np.where(length > 1e-12, length, 1.0)
    distance = np.clip(1 - unit.T @ unit, 0.0, 2.0)
    distance = (distance + distance.T) / 2
    np.fill_diagonal(distance, 0.0)
    if len(distance) < 2:
        return [list(range(len(distance)))]
    groups, queue = [], [to_tree(linkage(squareform(distance, checks=False)))]
    while queue:
        node = queue.pop(0)
        if node.get_count() <= most:
            groups.append(sorted(node.pre_order()))
        else:
            queue += [node.get_left(), node.get_right()]
    return sorted(groups)


@dataclass
class Encoders:
    """G auto-encoders of equal padded shape, side by side: z = σ(h Wᵀ + c), h = σ(x W + b), weights tied as in the paper."""

    index: NDArray[np.int64]  #: (G, m) feature of each input
    mask: Array  #: (G, m) 1.0, 0.0 where an input is padding
    hidden: Array  #: (G, h) the same for hidden units
    weights: Array  #: (G, m, h)
    up: Array  #: (G, h) b
    down: Array  #: (G, m) c

    @classmethod
    def of(cls, groups: list[list[int]], share: float, rng: np.random.Generator) -> Self:
        """Weights uniform in ±1/m, biases 0; a group of n features has ⌈share · n⌉ hidden units."""
        most = max(map(len, groups))
        units = [math.ceil(share * len(g)) for g in groups]
        index, mask = np.zeros((len(groups), most), dtype=np.int64), np.zeros((len(groups), most))
        hidden, weights = np.zeros((len(groups), max(units))), np.zeros((len(groups), most, max(units)))
        for i, group in enumerate(groups):
            n = len(group)
            index[i, :n], mask[i, :n], hidden[i, : units[i]] = group, 1.0, 1.0
            weights[i, :n, : units[i]] = rng.uniform(-1 / n, 1 / n, (n, units[i]))
        return cls(index, mask, hidden, weights, np.zeros_like(hidden), np.zeros_like(mask))

    def _pass(self, x: Array) -> tuple[Array, Array, Array]:
        """Inputs, hidden and outputs, each (G, N, ·); padding stays 0."""
        inputs = x[:, self.index].transpose(1, 0, 2) * self.mask[:, None]
        h = _sigmoid(inputs @ self.weights + self.up[:, None]) * self.hidden[:, None]
        z = _sigmoid(h @ self.weights.transpose(0, 2, 1) + self.down[:, None]) * self.mask[:, None]
        return inputs, h, z

    def errors(self, x: Array) -> Array:
        """(N, features) → (N, G) root mean squared error of reconstruction."""
        out = [np.zeros((0, len(self.index)))]
        for first in range(0, len(x), CHUNK):
            inputs, _, z = self._pass(x[first : first + CHUNK])
            out.append(np.sqrt(((inputs - z) ** 2).sum(axis=2) / self.mask.sum(axis=1)[:, None]).T)
        return np.concatenate(out)

    def train(self, x: Array, how: Training, rng: np.random.Generator) -> None:
        """Gradient descent in shuffled batches (the paper: one instance at a time, in order of arrival)."""
        for _ in range(how.epochs):
            order = rng.permutation(len(x))
            for first in range(0, len(x), how.batch):
                inputs, h, z = self._pass(x[order[first : first + how.batch]])
                step = how.learning_rate / inputs.shape[1]
                out = inputs - z
                back = (out @ self.weights) * h * (1 - h)
                self.weights += step * (inputs.transpose(0, 2, 1) @ back + out.transpose(0, 2, 1) @ h)
                self.weights *= self.mask[:, :, None] * self.hidden[:, None]
                self.up += step * back.sum(axis=1)
                self.down += step * out.sum(axis=1)

    def state(self) -> Mapping[str, Any]:
        """All arrays."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}


@dataclass
class KitNet:
    """The ensemble, and the auto-encoder that judges its errors."""

    ensemble: Encoders
    output: Encoders
    low: Array  #: (G,) smallest error of each member in training
    span: Array  #: (G,) largest less smallest

    @classmethod
    def fitted(cls, x: Array, groups: list[list[int]], how: Training, seed: int) -> Self:
        """Train on instances whose features lie in 0 … 1."""
        rng = np.random.default_rng(seed)
        ensemble = Encoders.of(groups, how.hidden_share, rng)
        ensemble.train(x, how, rng)
        errors = ensemble.errors(x)
        low, span = errors.min(axis=0), np.maximum(np.ptp(errors, axis=0), 1e-6)
        output = Encoders.of([list(range(len(groups)))], how.hidden_share, rng)
        output.train((errors - low) / span, how, rng)
        return cls(ensemble, output, low, span)

    def score(self, x: Array) -> Array:
        """(N,) root mean squared error of the output layer."""
        return self.output.errors((self.ensemble.errors(x) - self.low) / self.span)[:, 0]

    def state(self) -> Mapping[str, Any]:
        """Everything learned."""
        return {"ensemble": self.ensemble.state(), "output": self.output.state(), "low": self.low, "span": self.span}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Self:
        """The reverse of `state`."""
        both = [Encoders(**{k: np.asarray(v) for k, v in state[name].items()}) for name in ("ensemble", "output")]
        return cls(both[0], both[1], np.asarray(state["low"]), np.asarray(state["span"]))


def _sigmoid(x: Array) -> Array:
    return 1 / (1 + np.exp(-np.clip(x, -50, 50)))
