"""What a supervised detector may be trained on: other rates and other paths than the test's; and which windows leaked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mimir.errors import Problem
from mimir.evaluation.truth import covered_by, delivered_in, split_ledger
from mimir.exfiltration.paths import branches, directed_paths, resolved_paths
from mimir.spec import Spec
from mimir.spec.exfiltration import ExfiltrationSpec

Path = tuple[str, ...]
Edges = frozenset[tuple[str, str]]
LONGEST, MOST = 5, 50  #: hops of a training path, and paths looked at
ALIKE = 0.01  #: rates that differ by less are the same
_WHERE = "conf/evaluation or on the command line"


def training_path(spec: Spec) -> Path:
    """The path of the training leaks where `evaluation.train.path` is empty; () where there is none.

    The shortest way along allowed edges from a sensitive service (from any service, where there is none) that is neither a
    path of the test nor one of the application's scenarios, so that most tests share one recording. Ways by replies come first.
    """
    edges, taken = _edges(spec), {*tested_paths(spec), *map(tuple, spec.app.leak_paths.values())}
    for stores in (spec.app.sensitive, [s for s in spec.app.services if s not in spec.app.sensitive]):
        for direction in ("reply", "mixed"):
            found = chain.from_iterable(directed_paths(edges, s, LONGEST, direction, MOST) for s in stores)
            free = [path for path in found if path not in taken]
            if free:
                return min(free, key=len)
    return ()


def tested_paths(spec: Spec) -> list[Path]:
    """Paths of the leaks in the test recording."""
    return _paths(spec.exfiltration, _edges(spec))


def rates(leak: ExfiltrationSpec) -> list[float]:
    """Rates of a scenario in B/min; [] where they follow from the benign traffic."""
    relative = leak.rate_share_of_edge is not None or leak.pacing == "adaptive"
    return [] if relative else sorted(map(float, leak.rates_bytes_per_min or [leak.rate_bytes_per_min]))


def overlap_problems(spec: Spec, train: ExfiltrationSpec) -> Iterator[Problem]:
    """Why the training leaks are not other leaks than those of the test. Nothing leaks in the test: nothing to compare."""
    if spec.exfiltration.channel == "none":
        return
    tested = tested_paths(spec)
    if same := [path for path in _paths(train, _edges(spec)) if path in tested]:
        yield Problem(
            "evaluation.train.path", f"is a path of the test as well: [{', '.join(same[0])}]; {spec.detector.name} would be tested on what it was shown",
            "any other way out", f"leave it empty to have one chosen, or set it in {_WHERE}",
        )  # fmt: skip
    shown, asked = rates(train), rates(spec.exfiltration)
    if equal := [rate for rate in shown if any(abs(rate - other) <= ALIKE * other for other in asked)]:
        yield Problem(
            "evaluation.train.rates_bytes_per_min", f"has rates of the test in it: {', '.join(f'{r:g}' for r in equal)}; {spec.detector.name} would be tested on what it was shown",
            f"other rates than {', '.join(f'{r:g}' for r in asked)}", f"set it in {_WHERE}",
        )  # fmt: skip


def window_labels(
    rows: Sequence[Mapping[str, Any]], recording: str, starts: NDArray[np.int64], window_s: int, recovery_s: int
) -> NDArray[np.int8]:
    """(T,) labels by the rule of the evaluation: 1 a leak delivered bytes in the window, -1 it touches a leak or the time of
    recovery after one without that, 0 benign. `rows` are those of truth.jsonl."""
    leaks, _ = split_ledger(rows, recording)
    labels = -covered_by(leaks, starts, window_s, recovery_s).astype(np.int8)
    for leak in leaks:
        labels[delivered_in(leak, starts, window_s) > 0] = 1
    return labels


def _edges(spec: Spec) -> Edges:
    """(client, server) pairs the application needs between services and with the outside."""
    return frozenset(
        [*((e.client, e.server) for e in spec.app.edges), *((s.client, s.server) for s in spec.app.scrapes)]
    )


def _paths(leak: ExfiltrationSpec, edges: Edges) -> list[Path]:
    if leak.channel == "none":
        return []
    paths = resolved_paths(leak, edges)
    return list(dict.fromkeys([*paths, *(branch for path in paths for branch in branches(leak, path, edges))]))
