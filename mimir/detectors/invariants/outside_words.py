"""I6 in words: which bound was broken, by how much, and along which way the data left."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from mimir.detectors.base import Reason
from mimir.detectors.columns import columns_of
from mimir.detectors.invariants.outside_counts import NAMES
from mimir.detectors.invariants.tails import surprise_of_bytes
from mimir.detectors.invariants.words import NAME_CARRIES
from mimir.detectors.leakpaths import path_through, technique_of
from mimir.detectors.pods import pods_behind, present, real_names
from mimir.flows.edges import EdgeKey, Window, is_outside
from mimir.units import format_bytes, format_duration

if TYPE_CHECKING:
    from mimir.detectors.invariants.outside import Outside
    from mimir.detectors.invariants.residuals import Judged

NEW, LASTING, LONG = "new name outside", "long connection", "long DNS names"
LONGER = 1.25  #: names this many times as long as the longest mean of any window in training are a violation


def outside_reasons(family: Outside, window: Window) -> list[Reason]:
    """The linear bound broken most, and every new or lasting destination; strongest first."""
    judged = family.judge(window.series)
    row, found = judged.surprise[window.index], []
    if len(row) and row.max() > 0:
        found.append((float(row.max()), _linear(family, window, judged, int(row.argmax()))))
    keys, new, runs, loose = family.unbounded(window.series)
    for n in np.flatnonzero(loose[window.index] > 0).tolist():
        text = _loose_text(family, window, keys[n], float(new[window.index, n]), int(runs[window.index, n]))
        excess = max(float(new[window.index, n]), 0.0)
        found.append(
            (
                float(loose[window.index, n]),
                _reason(family, window, keys[n], slice(window.index, window.index + 1), text, excess, 0.0, 0.0),
            )
        )
    names, beyond = family.long_names(window.series)
    for n in np.flatnonzero(beyond[window.index] > 0).tolist():
        edge, more = present(names[n], window.series, window.index), float(beyond[window.index, n])
        text = (
            f"{edge.client} → {edge.server}:{edge.server_port} asked for names {format_bytes(more)} longer than so many queries "
            f"can hold at {LONGER} × the longest mean of training, {family.longest:.0f} B (I6, {LONG})"
        )
        reason = _reason(family, window, names[n], slice(window.index, window.index + 1), text, more, 0.0, 0.0)
        low, middle, high = (
            share * size for share, size in zip(NAME_CARRIES, (more, more, more + family.longest), strict=True)
        )
        reason = replace(reason, bytes_estimate=middle, bytes_low=low, bytes_high=high)
        found.append((float(surprise_of_bytes(np.array(more))), reason))
    return [reason for _, reason in sorted(found, key=lambda f: -f[0])]


def _loose_text(family: Outside, window: Window, column: EdgeKey, new: float, run: int) -> str:
    edge = present(column, window.series, window.index)
    head = f"{edge.client} → {edge.server}:{edge.server_port}"
    if new > 0:
        return f"{head} sent {format_bytes(new)} to a name outside that training never showed (I6, {NEW})"
    usual = format_duration(family.known.get(column, (0, 0.0))[0] * window.series.window_s)
    return f"{head} has sent data outside for {format_duration(run * window.series.window_s)} on end; in training at most {usual} (I6, {LASTING})"


def _linear(family: Outside, window: Window, judged: Judged, number: int) -> Reason:
    part, span = family.parts[number], judged.span(window.index, number)
    edge = present(part.column, window.series, window.index)
    observed, expected = (
        float(judged.observed[span, number].sum()),
        max(float(judged.expected[span, number].sum()), 0.0),
    )
    sigma = float(np.sqrt((judged.sigma[span, number] ** 2).sum()))
    time = format_duration((span.stop - span.start) * window.series.window_s)
    what = "asked for names of" if part.kind == NAMES else "let out"
    who = " by one pod" if part.kind == NAMES else ""
    why = "the connections it opened" if part.kind == NAMES else "user requests"
    text = (
        f"{edge.client} → {edge.server}:{edge.server_port} {what} {format_bytes(observed)}{who} in the last {time}; {why} "
        f"explain {format_bytes(expected)} ± {format_bytes(sigma)} (I6, {part.kind})"
    )
    return _reason(family, window, part.column, span, text, observed, expected, sigma)


def _reason(
    family: Outside,
    window: Window,
    column: EdgeKey,
    span: slice,
    text: str,
    observed: float,
    expected: float,
    sigma: float,
) -> Reason:
    edge = present(column, window.series, window.index)
    source, sink = (column.server, column.client) if is_outside(column.client) else (column.client, column.server)
    columns = columns_of(window.series).keys
    path = real_names(path_through(columns, window.series.sensitive, source, sink), window.series, window.index)
    counter = "response_payload_bytes" if is_outside(column.client) else "request_payload_bytes"
    excess, windows = observed - expected, span.stop - span.start
    return Reason(
        family.name, text, edge.client, edge.server, edge.server_port, observed, expected, "bytes", path=path,
        pods=pods_behind(window.series, span, column, counter, max(expected, 0.0)), technique=technique_of(path, column), proto=edge.proto, since=int(window.series.window_start[span.start]),
        bytes_estimate=max(excess, 0.0) / windows, bytes_low=max(excess - 1.96 * sigma, 0.0) / windows,
        bytes_high=max(excess + 1.96 * sigma, 0.0) / windows,
    )  # fmt: skip
