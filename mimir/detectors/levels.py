"""The level of every column in training, and how far windows stand above it (shared by the control charts)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from mimir.detectors.base import Reason
from mimir.detectors.columns import Columns, columns_of, keys_from_json, keys_to_json, place, total_bytes
from mimir.detectors.parameters import Parametrised
from mimir.detectors.pods import present
from mimir.flows.edges import EdgeKey, EdgeSeries, Window
from mimir.units import format_bytes

Array = NDArray[np.float64]

SCALE_FLOOR_BYTES = 100.0  #: a constant edge would otherwise turn one stray packet into an infinite z
SCALE_FLOOR_SHARE = 0.01  #: … or one per cent of an edge's level
SHOWN = 3  #: edges named in one window


def floored(scale: Array, mean: Array) -> Array:
    """Standard deviations, at least 100 B and 1 % of the level."""
    return np.maximum(scale, np.maximum(SCALE_FLOOR_BYTES, SCALE_FLOOR_SHARE * np.abs(mean)))


@dataclass(frozen=True)
class Levels:
    """Mean and standard deviation (bytes a window) of each column of a benign series; the deviations have a floor."""

    keys: tuple[EdgeKey, ...]
    mean: Array
    scale: Array

    @classmethod
    def of(cls, benign: EdgeSeries) -> Levels:
        """Levels of a series; zeros and floors for one without windows."""
        columns = columns_of(benign)
        bytes_ = columns.fold(total_bytes(benign))
        mean = bytes_.mean(axis=0) if len(bytes_) else np.zeros(len(columns.keys))
        return cls(columns.keys, mean, floored(bytes_.std(axis=0) if len(bytes_) else np.zeros_like(mean), mean))

    def on(self, columns: Columns) -> tuple[Array, Array]:
        """Mean and scale on the columns of another series: 0 and the median scale where they are unknown."""
        where = place(columns.keys, self.keys)
        unknown = float(np.median(self.scale)) if len(self.scale) else SCALE_FLOOR_BYTES
        mean, scale = np.zeros(len(where)), np.full(len(where), unknown)
        mean[where >= 0], scale[where >= 0] = self.mean[where[where >= 0]], self.scale[where[where >= 0]]
        return mean, scale

    def state(self) -> dict[str, Any]:
        """As JSON values and arrays."""
        return {"edges": keys_to_json(self.keys), "mean": self.mean, "scale": self.scale}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Levels:
        """The reverse of `state`."""
        return cls(keys_from_json(state["edges"]), np.asarray(state["mean"]), np.asarray(state["scale"]))


def largest(values: Array) -> Array:
    """(T,) largest of (T, C), at least 0."""
    return np.asarray(values.max(axis=1, initial=0.0))


class Levelled(Parametrised):
    """A control chart, whose whole state is the `Levels` it learned."""

    _levels: Levels | None = None

    def state(self) -> Mapping[str, Any]:
        """Edges, level and deviation of each."""
        self.require(self._levels is not None)
        return self._levels.state() if self._levels else {}

    def load_state(self, state: Mapping[str, Any]) -> Self:
        """The reverse of `state`."""
        self._levels = Levels.from_state(state)
        return self


def level_reasons(
    name: str, window: Window, keys: Sequence[EdgeKey], above: Array, expected: Array, words: Callable[[int], str]
) -> list[Reason]:
    """One reason for each of the columns that stand highest `above` (C,) their `expected` (C,) bytes, at most SHOWN."""
    series = window.series
    bytes_ = columns_of(series).fold(total_bytes(series)[window.index][None])[0]
    reasons = []
    for i in np.argsort(-above, kind="stable")[:SHOWN].tolist():
        if above[i] <= 0 or bytes_[i] <= 0:
            continue
        edge = present(keys[i], series, window.index)
        text = (
            f"{edge.client} → {edge.server}:{edge.server_port} carried {format_bytes(bytes_[i])}, expected "
            f"{format_bytes(expected[i])}; {words(i)}"
        )
        reasons.append(
            Reason(
                name, text, edge.client, edge.server, edge.server_port, float(bytes_[i]), float(expected[i]), "bytes"
            )
        )
    return reasons
