"""I6, outside and DNS: bytes to outside follow user requests; a pod asks for few names; names outside are few and calls short."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from mimir.detectors.base import Reason
from mimir.detectors.columns import (
    aligned,
    canonical,
    columns_of,
    keys_from_json,
    keys_to_json,
    outward_payload,
    place,
    total_bytes,
)
from mimir.detectors.invariants.presence import pods_present
from mimir.detectors.invariants.residuals import Judged, LinearInvariants
from mimir.detectors.invariants.tails import bend, surprise_of_bytes
from mimir.detectors.invariants.words import NAME_CARRIES
from mimir.detectors.leakpaths import DNS_PORT, path_through, technique_of
from mimir.detectors.pods import pods_behind, present, real_names
from mimir.flows.edges import EdgeKey, EdgeSeries, Window, is_outside
from mimir.units import format_bytes, format_duration

Array = NDArray[np.float64]

FLOOR_BYTES = 250.0
#: runs of windows with data to one server outside: judged beyond so many times the longest seen, and so many windows more,
LASTING_TIMES, LASTING_FREE = 3, 15
BUSY = 0.8  #: where they go on with at most this probability; busier destinations have no long connections
TOUCH, NAMES, NEW, LASTING = "bytes to outside", "DNS names", "new name outside", "long connection"
LONG = "long DNS names"
LONGER = 1.25  #: names this many times as long as the longest mean of any window in training are a violation
#: the mix of behaviours drifts by about this share of the bytes; the share of the work that the busiest pod gets by more
DRIFT = {TOUCH: 0.03, NAMES: 0.2}


class Part(NamedTuple):
    """What is judged: a kind, and the column it belongs to."""

    kind: str
    column: EdgeKey


class Outside:
    """Five bounds, each in bytes or windows; see docs/concepts/invariants.md."""

    name = "I6"
    note = ""

    def __init__(self, ridge: float, memory: Sequence[int]):
        self._model = LinearInvariants(ridge, memory)
        self._parts: tuple[Part, ...] = ()
        self._entries: tuple[EdgeKey, ...] = ()
        #: columns to servers outside → longest run of windows with data going out, and the probability that a run goes on
        self._known: dict[EdgeKey, tuple[int, float]] = {}
        self._longest = 0.0  #: B, the largest mean length of a name in any window and column of training
        self._last: tuple[EdgeSeries, Judged] | None = None

    def fit(self, benign: EdgeSeries) -> Self:
        """Learn what leaves per user request, how much a pod asks for, and who is talked to outside for how long."""
        columns = columns_of(benign)
        used = columns.fold(total_bytes(benign)).sum(axis=0) > 0
        keys = sorted(k for k, u in zip(columns.keys, used, strict=True) if u)
        self._entries = tuple(k for k in keys if is_outside(k.client))
        out = columns.fold(outward_payload(benign))
        runs = {k: _persistence(_runs(out[:, i])) for i, k in enumerate(columns.keys) if is_outside(k.server)}
        self._known = {k: runs[k] for k in sorted(runs)}
        self._parts = tuple(
            [Part(TOUCH, k) for k in keys if is_outside(k.client) or is_outside(k.server)]
            + [Part(NAMES, k) for k in keys if k.server_port == DNS_PORT and not is_outside(k.server)]
        )
        names, queries = (columns.sum(benign, c) for c in ("dns_name_bytes", "dns_queries"))
        self._longest = float((names / np.maximum(queries, 1.0)).max(initial=0.0))
        self._model.fit(self._targets(benign), FLOOR_BYTES, [DRIFT[p.kind] for p in self._parts])
        self._last = None
        return self

    def _targets(self, series: EdgeSeries) -> list[tuple[Array, Array]]:
        columns = columns_of(series)
        requests = aligned(series, "exchanges", self._entries)
        outward, found = columns.fold(outward_payload(series)), place([p.column for p in self._parts], columns.keys)
        pods = pods_present(series)
        out = []
        for part, where in zip(self._parts, found, strict=True):
            if part.kind == TOUCH:
                out.append((outward[:, where] if where >= 0 else np.zeros(len(series)), requests))
            else:
                many = np.maximum(pods.get(part.column.client, np.ones(len(series))), 1.0)
                out.append((_most_of_a_pod(series, part.column), requests / many[:, None]))
        return out

    def _judge(self, windows: EdgeSeries) -> Judged:
        if self._last is None or self._last[0] is not windows:
            self._last = (windows, self._model.judge(self._targets(windows)))
        return self._last[1]

    def _unbounded(self, windows: EdgeSeries) -> tuple[tuple[EdgeKey, ...], Array, Array, Array]:
        """Columns to servers outside, (T, N) bytes to new names, (T, N) length of runs, (T, N) surprise of both."""
        columns = columns_of(windows)
        outward = columns.fold(outward_payload(windows))
        chosen = [i for i, k in enumerate(columns.keys) if is_outside(k.server)]
        keys, sent = tuple(columns.keys[i] for i in chosen), outward[:, chosen]
        runs = np.stack([_runs(s) for s in sent.T], axis=1) if chosen else np.zeros_like(sent)
        new = sent * np.array([k not in self._known for k in keys])
        usual = np.array([self._known.get(k, _persistence(np.zeros(0))) for k in keys]).reshape(-1, 2)
        beyond = np.maximum(runs - LASTING_TIMES * usual[:, 0] - LASTING_FREE, 0.0)
        lasting = np.where(usual[:, 1] <= BUSY, -np.log10(usual[:, 1]), 0.0) * beyond  # P(run > r) = qʳ
        return keys, new, runs, np.maximum(surprise_of_bytes(new), bend(lasting))

    def _long_names(self, windows: EdgeSeries) -> tuple[tuple[EdgeKey, ...], Array]:
        """Columns that carry DNS queries, and (T, N) bytes of names beyond what so many usual names hold."""
        columns = columns_of(windows)
        names, queries = (columns.sum(windows, c) for c in ("dns_name_bytes", "dns_queries"))
        chosen = np.flatnonzero(queries.any(axis=0)) if self._longest > 0 else np.zeros(0, dtype=np.int64)
        excess = np.maximum(names - LONGER * self._longest * queries, 0.0)[:, chosen]
        return tuple(columns.keys[i] for i in chosen.tolist()), excess

    def surprise(self, windows: EdgeSeries) -> tuple[Array, Array]:
        """(T,) of the bound broken most, and (T, E) of each edge."""
        judged, columns = self._judge(windows), columns_of(windows)
        keys, _, _, loose = self._unbounded(windows)
        out = np.zeros((len(windows), len(columns.keys)))
        names, excess = self._long_names(windows)
        found = [(p.column, judged.surprise[:, n]) for n, p in enumerate(self._parts)]
        found += [*zip(keys, loose.T, strict=True), *zip(names, surprise_of_bytes(excess).T, strict=True)]
        for column, values in found:
            where = int(place([column], columns.keys)[0])
            if where >= 0:
                out[:, where] = np.maximum(out[:, where], values)
        whole = out.max(axis=1) if out.shape[1] else np.zeros(len(windows))
        return whole, columns.spread(out, total_bytes(windows))

    def reasons(self, window: Window) -> list[Reason]:
        """The linear bound broken most, and every new or lasting destination; strongest first."""
        judged = self._judge(window.series)
        row, found = judged.surprise[window.index], []
        if len(row) and row.max() > 0:
            found.append((float(row.max()), self._linear(window, judged, int(row.argmax()))))
        keys, new, runs, loose = self._unbounded(window.series)
        for n in np.flatnonzero(loose[window.index] > 0).tolist():
            text = self._loose_text(window, keys[n], float(new[window.index, n]), int(runs[window.index, n]))
            excess = max(float(new[window.index, n]), 0.0)
            found.append(
                (
                    float(loose[window.index, n]),
                    self._reason(window, keys[n], slice(window.index, window.index + 1), text, excess, 0.0, 0.0),
                )
            )
        names, beyond = self._long_names(window.series)
        for n in np.flatnonzero(beyond[window.index] > 0).tolist():
            edge, more = present(names[n], window.series, window.index), float(beyond[window.index, n])
            text = (
                f"{edge.client} → {edge.server}:{edge.server_port} asked for names {format_bytes(more)} longer than so many queries "
                f"can hold at {LONGER} × the longest mean of training, {self._longest:.0f} B (I6, {LONG})"
            )
            reason = self._reason(window, names[n], slice(window.index, window.index + 1), text, more, 0.0, 0.0)
            low, middle, high = (
                share * size for share, size in zip(NAME_CARRIES, (more, more, more + self._longest), strict=True)
            )
            reason = replace(reason, bytes_estimate=middle, bytes_low=low, bytes_high=high)
            found.append((float(surprise_of_bytes(np.array(more))), reason))
        return [reason for _, reason in sorted(found, key=lambda f: -f[0])]

    def _loose_text(self, window: Window, column: EdgeKey, new: float, run: int) -> str:
        edge = present(column, window.series, window.index)
        head = f"{edge.client} → {edge.server}:{edge.server_port}"
        if new > 0:
            return f"{head} sent {format_bytes(new)} to a name outside that training never showed (I6, {NEW})"
        usual = format_duration(self._known.get(column, (0, 0.0))[0] * window.series.window_s)
        return f"{head} has sent data outside for {format_duration(run * window.series.window_s)} on end; in training at most {usual} (I6, {LASTING})"

    def _linear(self, window: Window, judged: Judged, number: int) -> Reason:
        part, span = self._parts[number], judged.span(window.index, number)
        edge = present(part.column, window.series, window.index)
        observed, expected = (
            float(judged.observed[span, number].sum()),
            max(float(judged.expected[span, number].sum()), 0.0),
        )
        sigma = float(np.sqrt((judged.sigma[span, number] ** 2).sum()))
        time = format_duration((span.stop - span.start) * window.series.window_s)
        what = "asked for names of" if part.kind == NAMES else "let out"
        who = " by one pod" if part.kind == NAMES else ""
        text = (
            f"{edge.client} → {edge.server}:{edge.server_port} {what} {format_bytes(observed)}{who} in the last {time}; user requests "
            f"explain {format_bytes(expected)} ± {format_bytes(sigma)} (I6, {part.kind})"
        )
        return self._reason(window, part.column, span, text, observed, expected, sigma)

    def _reason(
        self, window: Window, column: EdgeKey, span: slice, text: str, observed: float, expected: float, sigma: float
    ) -> Reason:
        edge = present(column, window.series, window.index)
        source, sink = (column.server, column.client) if is_outside(column.client) else (column.client, column.server)
        columns = columns_of(window.series).keys
        path = real_names(path_through(columns, window.series.sensitive, source, sink), window.series, window.index)
        counter = "response_payload_bytes" if is_outside(column.client) else "request_payload_bytes"
        excess, windows = observed - expected, span.stop - span.start
        return Reason(
            self.name, text, edge.client, edge.server, edge.server_port, observed, expected, "bytes", path=path,
            pods=pods_behind(window.series, span, column, counter, max(expected, 0.0)), technique=technique_of(path, column), proto=edge.proto, since=int(window.series.window_start[span.start]),
            bytes_estimate=max(excess, 0.0) / windows, bytes_low=max(excess - 1.96 * sigma, 0.0) / windows,
            bytes_high=max(excess + 1.96 * sigma, 0.0) / windows,
        )  # fmt: skip

    def state(self) -> Mapping[str, Any]:
        """Bounds and destinations."""
        return {
            "kinds": [p.kind for p in self._parts], "columns": keys_to_json([p.column for p in self._parts]),
            "entries": keys_to_json(self._entries), "known": keys_to_json(tuple(self._known)),
            "runs": [list(v) for v in self._known.values()], "model": self._model.state(), "longest": self._longest,
        }  # fmt: skip

    def load_state(self, state: Mapping[str, Any]) -> Self:
        """The reverse of `state`."""
        columns = keys_from_json(state["columns"])
        self._parts = tuple(Part(str(k), c) for k, c in zip(state["kinds"], columns, strict=True))
        self._entries = keys_from_json(state["entries"])
        runs = [(int(longest), float(going_on)) for longest, going_on in state["runs"]]
        self._known = dict(zip(keys_from_json(state["known"]), runs, strict=True))
        self._model.load_state(state["model"])
        self._longest = float(state["longest"])
        self._last = None
        return self


def _runs(sent: Array) -> Array:
    """(T,) for how many windows up to now, without a gap, something was sent."""
    out, run = np.zeros(len(sent)), 0
    for t, value in enumerate(sent.tolist()):
        run = run + 1 if value > 0 else 0
        out[t] = run
    return out


def _persistence(runs: Array) -> tuple[int, float]:
    """The longest of the runs, and the probability that a run goes on for one window more (rule of succession)."""
    active = int((runs > 0).sum())
    return int(runs.max(initial=0)), ((runs > 1).sum() + 1) / (active + 2)


def _most_of_a_pod(series: EdgeSeries, column: EdgeKey) -> Array:
    """(T,) bytes of DNS names that the busiest pod of a column asked for; of the whole column without a pod view."""
    view = series.pods if series.pods is not None and len(series.pods) == len(series) else series
    mine: dict[str, list[int]] = {}
    for i, key in enumerate(view.edges):
        if canonical(key, view.workloads) == column:
            mine.setdefault(key.client, []).append(i)
    if not mine:
        return np.zeros(len(series))
    names = view.dense("dns_name_bytes")
    return np.asarray(np.max([names[:, edges].sum(axis=1) for edges in mine.values()], axis=0))
