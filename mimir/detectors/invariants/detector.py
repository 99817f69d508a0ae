"""The flagship: what a microservice application cannot hide, as families of learned regularities."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol, Self, get_args

import numpy as np
from numpy.typing import NDArray

from mimir.detectors.base import Reason, Scores
from mimir.detectors.combination import Combination, How
from mimir.detectors.invariants.blind_spots import blind_spots
from mimir.detectors.invariants.closed_set import ClosedSet
from mimir.detectors.invariants.mediation import Mediation
from mimir.detectors.invariants.outside import Outside
from mimir.detectors.invariants.pinned import pin, read_rows
from mimir.detectors.invariants.relay import RelayBalance
from mimir.detectors.invariants.replicas import ReplicaSymmetry
from mimir.detectors.invariants.table import rows
from mimir.detectors.invariants.volume import Volume
from mimir.detectors.parameters import Parametrised, once_a_series
from mimir.errors import MimirError
from mimir.flows.edges import EdgeSeries, Window, is_outside

Array = NDArray[np.float64]

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


#: share of the alert budget that each part of a family gets (of those that are on)
WEIGHTS = {"I1": 0.15, "I2": 0.1, "I3": 0.4, "I3 DNS": 0.15, "I4": 0.05, "I5": 0.05, "I6": 0.1}
PARTIAL = ("I4", "I5")  #: families that see one service or pod return too much, not where it comes from and goes
UNEXPLAINED = 1.0  #: surprise of a family below which it gives no reasons, unless it is the strongest


class Invariants(Parametrised):
    """Score = −log₁₀ of the combined p-value of all `families`; see docs/concepts/invariants.md.

    I1 closed set, I2 service-address mediation, I3 request-driven volume with PathGLR, I4 relay balance, I5 replica symmetry,
    I6 outside and DNS; each usable alone. `lags` windows of earlier requests and the `ridge` strength belong to the
    regressions; `memory`: over how many windows small excesses are added up; `combine`: bonferroni or harmonic; `pinned`: a table of edges, coefficients and
    limits (CSV or JSON, as `python -m mimir.detectors export RUN_DIR` writes it) that a person edited, or None.

    Source: Mimir; after Jiang, Chen & Yoshihira 2006 (invariants), Basseville & Nikiforov 1993, section 7.2 (generalised
        likelihood ratio) and Shafer & Vovk 2008 (conformal p-values)
    Family: invariants
    Supervised: no
    Needs: bytes
    Complexity: O(T M²) to fit and O(T (M + P K)) to score, M invariants, P paths, K lengths of memory
    Limits: needs request counts; an attacker whose leak follows the requests in proportion stays below the variance
    """

    name = "invariants"
    parameters = ("families", "lags", "ridge", "memory", "combine", "pinned")

    def __init__(
        self,
        families: Sequence[str] = ("I1", "I2", "I3", "I4", "I5", "I6"),
        lags: int = 1,
        ridge: float = 0.01,
        memory: Sequence[int] = (1, 5, 15, 60),
        combine: How = "bonferroni",
        pinned: str | None = None,
    ) -> None:
        self.families, self.lags, self.ridge, self.memory = list(families), lags, ridge, list(memory)
        self.combine: How = combine
        self.pinned = pinned
        self._fitted: dict[str, Family] = {}
        self._combination = Combination({"": 1.0})

    def _make(self) -> dict[str, Family]:
        makers: dict[str, Callable[[], Family]] = {
            "I1": ClosedSet,
            "I2": Mediation,
            "I3": lambda: Volume(self.lags, self.ridge, self.memory),
            "I4": lambda: RelayBalance(self.ridge, self.memory),
            "I5": lambda: ReplicaSymmetry(self.memory),
            "I6": lambda: Outside(self.ridge, self.memory),
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
        if self.combine not in get_args(How):
            raise MimirError(
                f"detector.combine must be one of {', '.join(get_args(How))} (got {self.combine}); see conf/detector/invariants.yaml"
            )
        return {name: makers[name]() for name in dict.fromkeys(self.families)}

    def check(self) -> None:
        """SpecError where the pinned table cannot be read, with every wrong line."""
        if self.pinned:
            read_rows(Path(self.pinned))

    def table(self, window_s: int | None = None) -> list[dict[str, Any]]:
        """Edges, coefficients and limits, for a person to edit and feed back as `pinned` (`table.py`)."""
        return rows(self.state()["families"], window_s)

    def fit(self, benign: EdgeSeries) -> Self:
        """Learn every family, then write the pinned table over it; MimirError for fewer than MIN_WINDOWS windows or parameters out of range."""
        if len(benign) < MIN_WINDOWS:
            raise MimirError(
                f"invariants need at least {MIN_WINDOWS} benign windows to fit (got {len(benign)}); raise evaluation.fit_s"
            )
        self._fitted = {name: family.fit(benign) for name, family in self._make().items()}
        if self.pinned:
            edited = pin(
                {name: f.state() for name, f in self._fitted.items()}, read_rows(Path(self.pinned)), benign.window_s
            )
            self._fitted = {name: family.load_state(edited[name]) for name, family in self._fitted.items()}
        self._combination = self._combined()
        for note in self.notes:
            LOG.info("%s", note)
        return self

    def _combined(self) -> Combination:
        """Shares of the budget of the families that are on."""
        on = [name for name, family in self._fitted.items() if not family.note]
        parts = [part for part in WEIGHTS if part.split()[0] in on] or list(self._fitted)
        return Combination({part: WEIGHTS[part] for part in parts}, self.combine)

    def calibrate(self, benign: EdgeSeries) -> Scores:
        """Learn the benign distribution of every family from another recording; its scores, each hour judged by the others.

        Without it, families claim their own p-values. The threshold is still set from the scores that come back.
        """
        self.require(bool(self._fitted))
        parts, edges = self._parts(benign)
        used = {name: parts[name] for name in self._combination.weights}
        score = self._combination.benign_scores(used, benign.window_s)
        self._combination.calibrate(used, benign.window_s)
        return Scores(benign.window_s, benign.window_start, score, benign.edges, edges)

    @property
    def notes(self) -> tuple[str, ...]:
        """Families that switched themselves off, in words."""
        self.require(bool(self._fitted))
        return tuple(f.note for f in self._fitted.values() if f.note)

    def partial_fit(self, benign: EdgeSeries) -> Self:
        """Follow slow drift with windows that raised no alert; bounded, so that nobody can train a leak away unseen.

        Only the level of I3's predictions moves, by at most MOST_DRIFT σ each. `score` then also gives the scores of the frozen
        fit as `reference`: a reference that alarms where the followed score does not is drift, or a patient thief.
        """
        self.require(bool(self._fitted))
        volume = self._fitted.get("I3")
        if isinstance(volume, Volume):
            volume.partial_fit(benign)
        return self

    def _reference(self, windows: EdgeSeries, parts: Mapping[str, Array]) -> Array | None:
        """Scores of the frozen fit, None while nothing has moved."""
        volume = self._fitted.get("I3")
        if not isinstance(volume, Volume) or not volume.offset.any():
            return None
        frozen = {**parts, **volume.parts(windows, reference=True)}
        return self._combination.score({name: frozen[name] for name in self._combination.weights})

    @once_a_series
    def _parts(self, windows: EdgeSeries) -> tuple[dict[str, Array], Array]:
        """(T,) surprise of every part, and (T, E) the largest surprise of each edge."""
        parts: dict[str, Array] = {}
        edges = np.zeros((len(windows), len(windows.edges)))
        for name, family in self._fitted.items():
            whole, per_edge = family.surprise(windows)
            parts |= family.parts(windows) if isinstance(family, Volume) else {name: whole}
            edges = np.maximum(edges, per_edge)
        return parts, edges

    def score(self, windows: EdgeSeries) -> Scores:
        """Combined surprise per window; contributions are the surprise of each edge (its largest over the families)."""
        self.require(bool(self._fitted))
        parts, edges = self._parts(windows)
        score = self._combination.score({name: parts[name] for name in self._combination.weights})
        reference = self._reference(windows, parts)
        return Scores(windows.window_s, windows.window_start, score, windows.edges, edges, reference)

    def explain(self, window: Window) -> list[Reason]:
        """Reasons of the family with the smallest p-value first (I4 and I5 after a chain of I3 that convinces); families without any are silent."""
        self.require(bool(self._fitted))
        parts, _ = self._parts(window.series)
        weights = self._combination.weights
        strength = {f: 0.0 for f in self._fitted}
        for part in weights:
            own = float(self._combination.part(part, parts[part])[window.index] + np.log10(weights[part]))
            family = part.split()[0]
            strength[family] = max(strength[family], own if parts[part][window.index] > 0 else -np.inf)
        ranked = sorted(self._fitted, key=lambda f: -strength[f])
        spoken = [f for n, f in enumerate(ranked) if strength[f] > -np.inf and (n == 0 or strength[f] > UNEXPLAINED)]
        reasons = [reason for f in spoken for reason in self._fitted[f].reasons(window)]
        chains = [r.path for r in reasons if r.family == "I3" and (r.p_value or 1.0) < CONVINCING_P]
        if chains:  # the same bytes, but with the whole way and a size that was learned
            reasons.sort(key=lambda r: r.family in PARTIAL)
        return [r if r.family == "I3" else replace(r, path=joined(r.path, chains)) for r in reasons]

    def blind_spots(self, windows: EdgeSeries, threshold: float) -> list[dict[str, Any]]:
        """How much could leave over each path unseen at this threshold (`blind_spots.py`); [] without I3."""
        self.require(bool(self._fitted))
        volume = self._fitted.get("I3")
        return blind_spots(volume, self._combination, windows, threshold) if isinstance(volume, Volume) else []

    def state(self) -> Mapping[str, Any]:
        """State of each family, and the benign surprises of each part once calibrated."""
        self.require(bool(self._fitted))
        families = {name: family.state() for name, family in self._fitted.items()}
        return {"families": families, "combination": self._combination.state()}

    def load_state(self, state: Mapping[str, Any]) -> Self:
        """The reverse of `state`."""
        made = self._make()
        self._fitted = {name: made[name].load_state(part) for name, part in state["families"].items()}
        self._combination = self._combined().load_state(state["combination"])
        return self
