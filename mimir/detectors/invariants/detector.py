"""The flagship: what a microservice application cannot hide, as families of learned regularities."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from mimir.detectors.base import Reason, Scores
from mimir.detectors.invariants.closed_set import ClosedSet
from mimir.detectors.invariants.mediation import Mediation
from mimir.detectors.invariants.volume import Volume
from mimir.detectors.parameters import Parametrised
from mimir.errors import MimirError
from mimir.flows.edges import EdgeSeries, Window, is_outside

MIN_WINDOWS = 10  #: benign windows below which no regression is fitted
CONVINCING_P = 1e-4  #: p-value below which a chain of I3 says where bytes on a new edge come from
LOG = logging.getLogger(__name__)


def joined(path: tuple[str, ...], chains: Sequence[tuple[str, ...]]) -> tuple[str, ...]:
    """A path with its beginning taken from the first chain that reaches its exit: I3 saw where the bytes came from.

    >>> joined(("orders-db", "front-end", "outside:evil"), [("user-db", "user", "front-end", "outside:users")])
    ('user-db', 'user', 'front-end', 'outside:evil')
    """
    for chain in chains:
        for position in range(len(path) - 1, -1, -1):
            if not is_outside(path[position]) and path[position] in chain:
                return (*chain[: chain.index(path[position])], *path[position:])
    return path


class Family(Protocol):
    """One kind of regularity. Surprise is −log₁₀ of a p-value, or on its scale, so that families can be compared."""

    name: str
    note: str  #: why the family is switched off; empty when it is on

    def fit(self, benign: EdgeSeries) -> Self:
        """Learn from benign windows."""
        ...

    def surprise(self, windows: EdgeSeries) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """(T,) per window and (T, E) per edge, ≥ 0."""
        ...

    def reasons(self, window: Window) -> list[Reason]:
        """Strongest first."""
        ...

    def state(self) -> Mapping[str, Any]:
        """JSON values and arrays."""
        ...

    def load_state(self, state: Mapping[str, Any]) -> Self:
        """The reverse of `state`."""
        ...


class Invariants(Parametrised):
    """Score = the largest surprise among `families`, corrected for their number (Bonferroni).

    I1 closed set, I2 service-address mediation, I3 request-driven volume; each usable alone. `lags` windows of earlier
    requests and the `ridge` strength belong to I3, as does `memory`: over how many windows it adds up small excesses.

    Source: Mimir; after Jiang, Chen & Yoshihira 2006 (invariants) and Shafer & Vovk 2008 (conformal p-values)
    Family: invariants
    Supervised: no
    Needs: bytes
    Complexity: O(T M²) to fit and O(T (M + P K)) to score, M invariants, P paths, K lengths of memory
    Limits: needs request counts; an attacker whose leak follows the requests in proportion stays below the variance
    """

    name = "invariants"
    parameters = ("families", "lags", "ridge", "memory")

    def __init__(
        self,
        families: Sequence[str] = ("I1", "I2", "I3"),
        lags: int = 1,
        ridge: float = 0.01,
        memory: Sequence[int] = (1, 3, 6),
    ) -> None:
        self.families, self.lags, self.ridge, self.memory = list(families), lags, ridge, list(memory)
        self._fitted: dict[str, Family] = {}

    def _make(self) -> dict[str, Family]:
        makers: dict[str, Callable[[], Family]] = {
            "I1": ClosedSet,
            "I2": Mediation,
            "I3": lambda: Volume(self.lags, self.ridge, self.memory),
        }
        unknown = [f for f in self.families if f not in makers]
        if unknown or not self.families:
            raise MimirError(
                f"detector.families must name at least one of {', '.join(makers)} (got {self.families}); see conf/detector/invariants.yaml"
            )
        if self.lags < 0 or self.ridge <= 0 or min(self.memory, default=1) < 1:
            raise MimirError(
                f"detector.lags must be ≥ 0, ridge > 0 and memory ≥ 1 (got {self.lags}, {self.ridge}, {self.memory}); "
                "see conf/detector/invariants.yaml"
            )
        return {name: makers[name]() for name in dict.fromkeys(self.families)}

    def fit(self, benign: EdgeSeries) -> Self:
        """Learn every family; MimirError for fewer than MIN_WINDOWS windows or parameters out of range."""
        if len(benign) < MIN_WINDOWS:
            raise MimirError(
                f"invariants need at least {MIN_WINDOWS} benign windows to fit (got {len(benign)}); raise evaluation.fit_s"
            )
        self._fitted = {name: family.fit(benign) for name, family in self._make().items()}
        for note in self.notes:
            LOG.info("%s", note)
        return self

    @property
    def notes(self) -> tuple[str, ...]:
        """Families that switched themselves off, in words."""
        self.require(bool(self._fitted))
        return tuple(f.note for f in self._fitted.values() if f.note)

    def score(self, windows: EdgeSeries) -> Scores:
        """Surprise per window; contributions are the surprise of each edge (its largest over the families)."""
        self.require(bool(self._fitted))
        price = np.log10(sum(not f.note for f in self._fitted.values()) or 1)
        score, edges = np.zeros(len(windows)), np.zeros((len(windows), len(windows.edges)))
        for family in self._fitted.values():
            whole, parts = family.surprise(windows)
            score, edges = np.maximum(score, whole - price), np.maximum(edges, parts)
        return Scores(windows.window_s, windows.window_start, score, windows.edges, edges)

    def explain(self, window: Window) -> list[Reason]:
        """Reasons of the family with the largest surprise first; families without any are silent."""
        self.require(bool(self._fitted))
        ranked = sorted(
            ((float(f.surprise(window.series)[0][window.index]), -i, f) for i, f in enumerate(self._fitted.values())),
            key=lambda r: r[:2],
            reverse=True,
        )
        reasons = [reason for surprise, _, family in ranked if surprise > 0 for reason in family.reasons(window)]
        chains = [r.path for r in reasons if r.family == "I3" and (r.p_value or 1.0) < CONVINCING_P]
        return [r if r.family == "I3" else replace(r, path=joined(r.path, chains)) for r in reasons]

    def state(self) -> Mapping[str, Any]:
        """State of each family."""
        self.require(bool(self._fitted))
        return {name: family.state() for name, family in self._fitted.items()}

    def load_state(self, state: Mapping[str, Any]) -> Self:
        """The reverse of `state`."""
        made = self._make()
        self._fitted = {name: made[name].load_state(part) for name, part in state.items()}
        return self
