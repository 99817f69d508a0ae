"""Is one detector better than another? Runs that share everything but the detector, seed by seed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from statistics import median

from mimir.report.compare import Comparison, Row
from mimir.report.factors import Value

#: with fewer pairs even a difference of one sign throughout is no evidence at 5 % (2 · 2⁻⁵ > 0.05)
MIN_PAIRS = 6


@dataclass(frozen=True)
class Paired:
    """`first` against `second`, higher is better. `p_value` is None with fewer than MIN_PAIRS pairs."""

    measure: str
    first: str
    second: str
    pairs: int
    better: int  #: pairs in which `first` has the higher value
    worse: int
    median_difference: float  #: first − second
    p_value: (
        float | None
    )  #: two-sided Wilcoxon signed rank (Wilcoxon 1945), adjusted for all pairs of detectors (Holm 1979)


def paired_tests(comparison: Comparison, measure: str) -> list[Paired]:
    """Every two detectors that were run in the same settings with the same seeds; empty when there are no two."""
    values: dict[str, dict[str, float]] = defaultdict(dict)
    for row in comparison.rows:
        detector, setting = _split(row)
        for run in row.done:
            value = (run.measures or {}).get(measure)
            if value is not None:
                values[detector][f"{setting} seed {run.seed}"] = value
    tests = [_test(measure, first, second, values) for first, second in combinations(sorted(values), 2)]
    return _holm([test for test in tests if test.pairs])


def _split(row: Row) -> tuple[str, str]:
    """(detector with its differing parameters, everything else) of a row, as text."""
    mine: dict[str, Value] = {k: v for k, v in row.factors.items() if k.partition(".")[0] == "detector"}
    others = sorted((k, repr(v)) for k, v in row.factors.items() if k not in mine)
    parameters = [f"{k.removeprefix('detector.')} {v}" for k, v in mine.items() if k != "detector" and v is not None]
    return ", ".join([str(mine.get("detector")), *parameters]), repr(others)


def _test(measure: str, first: str, second: str, values: dict[str, dict[str, float]]) -> Paired:
    shared = sorted(values[first].keys() & values[second].keys())
    differences = [values[first][s] - values[second][s] for s in shared]
    return Paired(
        measure,
        first,
        second,
        len(differences),
        sum(d > 0 for d in differences),
        sum(d < 0 for d in differences),
        median(differences) if differences else 0.0,
        _wilcoxon(differences),
    )


def _wilcoxon(differences: Sequence[float]) -> float | None:
    """Two-sided p-value, pairs without a difference left out; exact where there are neither ties nor such pairs."""
    from scipy.stats import wilcoxon

    if len(differences) < MIN_PAIRS:
        return None
    if not any(differences):
        return 1.0
    return float(wilcoxon(differences).pvalue)


def _holm(tests: list[Paired]) -> list[Paired]:
    """Adjusted p-values in the order of `tests`."""
    known = sorted((t.p_value, i) for i, t in enumerate(tests) if t.p_value is not None)
    adjusted, largest = list(tests), 0.0
    for rank, (p_value, i) in enumerate(known):
        largest = max(largest, min(1.0, p_value * (len(known) - rank)))
        adjusted[i] = replace(tests[i], p_value=largest)
    return adjusted
