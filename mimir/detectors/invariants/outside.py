"""I6, outside and DNS: bytes to outside follow user requests; a pod asks for few names; names outside are few and calls short."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from mimir.detectors.base import Reason
from mimir.detectors.columns import columns_of, keys_from_json, keys_to_json, outward_payload, place, total_bytes
from mimir.detectors.invariants.outside_counts import NAMES, TOUCH, Part, parts_of, persistence, runs_of, targets
from mimir.detectors.invariants.outside_words import LONGER, outside_reasons
from mimir.detectors.invariants.residuals import Judged, LinearInvariants
from mimir.detectors.invariants.tails import bend, surprise_of_bytes
from mimir.flows.edges import EdgeKey, EdgeSeries, Window, is_outside

Array = NDArray[np.float64]

FLOOR_BYTES = 250.0
#: runs of windows with data to one server outside: judged beyond so many times the longest seen, and so many windows more,
LASTING_TIMES, LASTING_FREE = 3, 15
BUSY = 0.8  #: where they go on with at most this probability; busier destinations have no long connections
#: the mix of behaviours drifts by about this share of the bytes; names differ more in length from one callee to the next
DRIFT = {TOUCH: 0.03, NAMES: 0.2}


class Outside:
    """Five bounds, each in bytes or windows; see docs/concepts/invariants.md."""

    name = "I6"
    note = ""

    def __init__(self, ridge: float, memory: Sequence[int]):
        self._model = LinearInvariants(ridge, memory)
        self.parts: tuple[Part, ...] = ()
        self._entries: tuple[EdgeKey, ...] = ()
        #: columns to servers outside → longest run of windows with data going out, and the probability that a run goes on
        self.known: dict[EdgeKey, tuple[int, float]] = {}
        self.longest = 0.0  #: B, the largest mean length of a name in any window and column of training
        self._last: tuple[EdgeSeries, Judged] | None = None

    def fit(self, benign: EdgeSeries) -> Self:
        """Learn what leaves per user request, how much a pod asks for, and who is talked to outside for how long."""
        columns = columns_of(benign)
        used = columns.fold(total_bytes(benign)).sum(axis=0) > 0
        keys = sorted(k for k, u in zip(columns.keys, used, strict=True) if u)
        self._entries = tuple(k for k in keys if is_outside(k.client))
        out = columns.fold(outward_payload(benign))
        runs = {k: persistence(runs_of(out[:, i])) for i, k in enumerate(columns.keys) if is_outside(k.server)}
        self.known = {k: runs[k] for k in sorted(runs)}
        self.parts = parts_of(keys)
        names, queries = (columns.sum(benign, c) for c in ("dns_name_bytes", "dns_queries"))
        self.longest = float((names / np.maximum(queries, 1.0)).max(initial=0.0))
        self._model.fit(
            targets(benign, self.parts, self._entries),
            FLOOR_BYTES,
            [DRIFT[p.kind] for p in self.parts],
            benign.window_s,
        )
        self._last = None
        return self

    def judge(self, windows: EdgeSeries) -> Judged:
        """Residuals and surprises of the linear bounds; kept for the next call with the same series."""
        if self._last is None or self._last[0] is not windows:
            self._last = (windows, self._model.judge(targets(windows, self.parts, self._entries)))
        return self._last[1]

    def unbounded(self, windows: EdgeSeries) -> tuple[tuple[EdgeKey, ...], Array, Array, Array]:
        """Columns to servers outside, (T, N) bytes to new names, (T, N) length of runs, (T, N) surprise of both."""
        columns = columns_of(windows)
        outward = columns.fold(outward_payload(windows))
        chosen = [i for i, k in enumerate(columns.keys) if is_outside(k.server)]
        keys, sent = tuple(columns.keys[i] for i in chosen), outward[:, chosen]
        runs = np.stack([runs_of(s) for s in sent.T], axis=1) if chosen else np.zeros_like(sent)
        new = sent * np.array([k not in self.known for k in keys])
        usual = np.array([self.known.get(k, persistence(np.zeros(0))) for k in keys]).reshape(-1, 2)
        beyond = np.maximum(runs - LASTING_TIMES * usual[:, 0] - LASTING_FREE, 0.0)
        lasting = np.where(usual[:, 1] <= BUSY, -np.log10(usual[:, 1]), 0.0) * beyond  # P(run > r) = qʳ
        return keys, new, runs, np.maximum(surprise_of_bytes(new), bend(lasting))

    def long_names(self, windows: EdgeSeries) -> tuple[tuple[EdgeKey, ...], Array]:
        """Columns that carry DNS queries, and (T, N) bytes of names beyond what so many usual names hold."""
        columns = columns_of(windows)
        names, queries = (columns.sum(windows, c) for c in ("dns_name_bytes", "dns_queries"))
        chosen = np.flatnonzero(queries.any(axis=0)) if self.longest > 0 else np.zeros(0, dtype=np.int64)
        excess = np.maximum(names - LONGER * self.longest * queries, 0.0)[:, chosen]
        return tuple(columns.keys[i] for i in chosen.tolist()), excess

    def surprise(self, windows: EdgeSeries) -> tuple[Array, Array]:
        """(T,) of the bound broken most, and (T, E) of each edge."""
        judged, columns = self.judge(windows), columns_of(windows)
        keys, _, _, loose = self.unbounded(windows)
        out = np.zeros((len(windows), len(columns.keys)))
        names, excess = self.long_names(windows)
        found = [(p.column, judged.surprise[:, n]) for n, p in enumerate(self.parts)]
        found += [*zip(keys, loose.T, strict=True), *zip(names, surprise_of_bytes(excess).T, strict=True)]
        for column, values in found:
            where = int(place([column], columns.keys)[0])
            if where >= 0:
                out[:, where] = np.maximum(out[:, where], values)
        whole = out.max(axis=1) if out.shape[1] else np.zeros(len(windows))
        return whole, columns.spread(out, total_bytes(windows))

    def reasons(self, window: Window) -> list[Reason]:
        """The linear bound broken most, and every new or lasting destination; strongest first."""
        return outside_reasons(self, window)

    def state(self) -> Mapping[str, Any]:
        """Bounds and destinations."""
        return {
            "kinds": [p.kind for p in self.parts], "columns": keys_to_json([p.column for p in self.parts]),
            "entries": keys_to_json(self._entries), "known": keys_to_json(tuple(self.known)),
            "runs": [list(v) for v in self.known.values()], "model": self._model.state(), "longest": self.longest,
        }  # fmt: skip

    def load_state(self, state: Mapping[str, Any]) -> Self:
        """The reverse of `state`."""
        columns = keys_from_json(state["columns"])
        self.parts = tuple(Part(str(k), c) for k, c in zip(state["kinds"], columns, strict=True))
        self._entries = keys_from_json(state["entries"])
        runs = [(int(longest), float(going_on)) for longest, going_on in state["runs"]]
        self.known = dict(zip(keys_from_json(state["known"]), runs, strict=True))
        self._model.load_state(state["model"])
        self.longest = float(state["longest"])
        self._last = None
        return self
