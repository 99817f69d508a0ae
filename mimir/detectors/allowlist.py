"""Closed set of edges, as a network policy would enforce it: pair, port and direction of initiation (Cilium's semantics)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from mimir.detectors.base import Reason, Scores
from mimir.detectors.columns import columns_of, keys_from_json, keys_to_json, total_bytes
from mimir.detectors.novelty import novel_edges, novelty_reasons
from mimir.detectors.parameters import Parametrised
from mimir.detectors.pinned import edge_rows, read_pinned
from mimir.flows.edges import EdgeKey, EdgeSeries, Window


class Allowlist(Parametrised):
    """Score = IP bytes on edges not seen in training.

    An edge is (client service, server service, port, protocol) with the direction of initiation; a new outside
    server is a new edge, a new address of a public entry's clients is not, and neither is a new pod of a known service.

    `pinned` is a table of edges (CSV or JSON, as `python -m mimir.detectors export RUN_DIR` writes it) that a person edited: rows
    with `allow` yes are allowed whatever training showed, rows with `allow` no are not.

    Source: Kubernetes NetworkPolicy and CiliumNetworkPolicy semantics
    Family: classical, closed set
    Supervised: no
    Needs: bytes
    Complexity: O(T E) to fit and to score
    Limits: a leak over allowed edges is invisible; after a short training every rare but legitimate edge is a false alarm
    """

    name = "allowlist"
    parameters = ("pinned",)

    def __init__(self, pinned: str | None = None) -> None:
        self.pinned = pinned
        self._allowed: tuple[EdgeKey, ...] | None = None

    def check(self) -> None:
        """MimirError where the pinned table cannot be read."""
        if self.pinned:
            read_pinned(Path(self.pinned))

    def table(self, window_s: int | None = None) -> list[dict[str, Any]]:
        """One row an allowed edge, whatever the window length, for a person to edit and feed back as `pinned`."""
        return edge_rows(self.allowed)

    def fit(self, benign: EdgeSeries) -> Self:
        """Allow every edge that carried at least one packet, then what is pinned; MimirError for a table that cannot be read."""
        columns = columns_of(benign)
        used = columns.fold(total_bytes(benign)).sum(axis=0) > 0
        allowed = {k for k, u in zip(columns.keys, used, strict=True) if u}
        pinned = read_pinned(Path(self.pinned)) if self.pinned else {}
        allowed |= {key for key, allow in pinned.items() if allow}
        self._allowed = tuple(sorted(allowed - {key for key, allow in pinned.items() if not allow}))
        return self

    @property
    def allowed(self) -> tuple[EdgeKey, ...]:
        """The edges allowed, by service; raises NotFittedError before `fit`."""
        self.require(self._allowed is not None)
        return self._allowed or ()

    def score(self, windows: EdgeSeries) -> Scores:
        """Bytes on edges outside the set; contributions are the bytes of each such edge."""
        out = total_bytes(windows) * novel_edges(windows, self.allowed)
        return Scores(windows.window_s, windows.window_start, out.sum(axis=1), windows.edges, out)

    def explain(self, window: Window) -> list[Reason]:
        """One reason per edge not in the set, most bytes first."""
        return novelty_reasons(window, self.allowed, self.name)

    def state(self) -> Mapping[str, Any]:
        """The allowed edges."""
        return {"allowed": keys_to_json(self.allowed)}

    def load_state(self, state: Mapping[str, Any]) -> Self:
        """The reverse of `state`."""
        self._allowed = keys_from_json(state["allowed"])
        return self
