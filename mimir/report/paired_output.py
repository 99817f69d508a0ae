"""Detectors against each other in words: a line for each pair while they are few, a matrix where they are many."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

from mimir.report.paired import MIN_PAIRS, Paired
from mimir.report.words import in_unit

MOST_LINES = 6  #: pairs (four detectors) up to which each has a line of its own
SIGNIFICANT = 0.05
MATRIX_NOTE = (
    f"each cell: runs in which the detector of the line is better : worse than that of the column; * p ≤ {SIGNIFICANT:g}, "
    f"? fewer than {MIN_PAIRS} pairs, · never run in the same settings"
)


def paired_lines(tests: Sequence[Paired]) -> list[str]:
    """One line per two detectors that were run in the same settings; [] where they are many (`paired_matrix`)."""
    return [_line(test) for test in tests] if len(tests) <= MOST_LINES else []


def _line(test: Paired) -> str:
    found = f"p not given: fewer than {MIN_PAIRS} pairs" if test.p_value is None else f"p = {test.p_value:.2g}"
    return (
        f"{test.first} against {test.second}: median difference {in_unit(test.measure, test.median_difference)}, "
        f"better in {test.better} and worse in {test.worse} of {test.pairs} pairs, {found}"
    )


def paired_matrix(tests: Sequence[Paired]) -> list[list[str]]:
    """Heading and one row per detector, numbered, the upper triangle filled; [] where each pair has a line of its own."""
    if len(tests) <= MOST_LINES:
        return []
    names = sorted({name for test in tests for name in (test.first, test.second)})
    cells = {(test.first, test.second): _cell(test) for test in tests}
    upper = {pair: cells.get(pair, "·") for pair in combinations(names, 2)}
    heading = ["", *(str(number) for number in range(2, len(names) + 1))]
    rows = [
        [f"{number} {name}", *(upper.get((name, other), "") for other in names[1:])]
        for number, name in enumerate(names, 1)
    ]
    return [heading, *rows]


def _cell(test: Paired) -> str:
    sign = "?" if test.p_value is None else "*" if test.p_value <= SIGNIFICANT else ""
    return f"{test.better}:{test.worse}{sign}"
