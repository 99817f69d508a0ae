"""What family I6 counts: bytes to outside, names that a pod asks for, and for how long a destination is busy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mimir.detectors.columns import aligned, canonical, columns_of, outward_payload, place
from mimir.detectors.leakpaths import DNS_PORT
from mimir.flows.edges import EdgeKey, EdgeSeries, is_outside

Array = NDArray[np.float64]

TOUCH, NAMES = "bytes to outside", "DNS names"


class Part(NamedTuple):
    """What is judged: a kind, and the column it belongs to."""

    kind: str
    column: EdgeKey


def parts_of(keys: Sequence[EdgeKey]) -> tuple[Part, ...]:
    """Columns of training that touch the outside, and those on which names are asked for inside."""
    return tuple(
        [Part(TOUCH, k) for k in keys if is_outside(k.client) or is_outside(k.server)]
        + [Part(NAMES, k) for k in keys if k.server_port == DNS_PORT and not is_outside(k.server)]
    )


def targets(series: EdgeSeries, parts: Sequence[Part], entries: Sequence[EdgeKey]) -> list[tuple[Array, Array]]:
    """Per part the (T,) bytes, and the (T, P) counts that explain them: user requests, or connections the pod opened."""
    columns = columns_of(series)
    requests = aligned(series, "exchanges", entries)
    outward, found = columns.fold(outward_payload(series)), place([p.column for p in parts], columns.keys)
    out = []
    for part, where in zip(parts, found, strict=True):
        if part.kind == TOUCH:
            out.append((outward[:, where] if where >= 0 else np.zeros(len(series)), requests))
        else:
            out.append(most_of_a_pod(series, part.column))
    return out


def most_of_a_pod(series: EdgeSeries, column: EdgeKey) -> tuple[Array, Array]:
    """(T,) bytes of DNS names that the busiest pod of a column asked for, and (T, 1) connections that this pod opened.

    A pod looks names up because it is about to connect, whatever the users do; a tunnel asks without connecting. Without
    a pod view the service counts as one pod.
    """
    view = series.pods if series.pods is not None and len(series.pods) == len(series) else series
    asks: dict[str, list[int]] = {}
    opens: dict[str, list[int]] = {}
    for i, key in enumerate(view.edges):
        if canonical(key, view.workloads) == column:
            asks.setdefault(key.client, []).append(i)
        elif key.server_port != DNS_PORT:
            opens.setdefault(key.client, []).append(i)
    if not asks:
        return np.zeros(len(series)), np.zeros((len(series), 1))
    names, opened = view.dense("dns_name_bytes"), view.dense("connections")
    asked = np.stack([names[:, edges].sum(axis=1) for edges in asks.values()], axis=1)
    made = np.stack([opened[:, opens.get(pod, [])].sum(axis=1) for pod in asks], axis=1)
    busiest = asked.argmax(axis=1)[:, None]
    return np.take_along_axis(asked, busiest, axis=1)[:, 0], np.take_along_axis(made, busiest, axis=1)


def runs_of(sent: Array) -> Array:
    """(T,) for how many windows up to now, without a gap, something was sent."""
    out, run = np.zeros(len(sent)), 0
    for t, value in enumerate(sent.tolist()):
        run = run + 1 if value > 0 else 0
        out[t] = run
    return out


def persistence(runs: Array) -> tuple[int, float]:
    """The longest of the runs, and the probability that a run goes on for one window more (rule of succession)."""
    active = int((runs > 0).sum())
    return int(runs.max(initial=0)), ((runs > 1).sum() + 1) / (active + 2)
