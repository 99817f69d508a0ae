"""A Comparison for people: a plain table for the terminal and a page that loads nothing from elsewhere."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from mimir.report.compare import (
    DETECTABLE_RECALL,
    MAIN_MEASURES,
    MIN_INTERVAL_RUNS,
    RATE,
    Comparison,
    Row,
    describe_states,
)
from mimir.report.factors import Value
from mimir.report.paired import paired_tests
from mimir.report.paired_output import MATRIX_NOTE, paired_lines, paired_matrix
from mimir.report.theme import FONTS, css_variables
from mimir.report.trigger_table import trigger_lines
from mimir.report.words import LABELS, in_unit
from mimir.units import format_bytes

#: short headings, so that the table fits a terminal; the page uses the long ones
SHORT = {
    "event_recall": "detected",
    "delay_median_s": "delay",
    "bytes_before_alert_median": "lost before alert",
    "false_alerts_per_day": "false alerts/day",
    "average_precision": "AP",
    "f1": "F1",
    "precision_monthly": "precision, 1/month",
    "path_top1": "path right",
}
NOTHING = "–"
PAIRED_MEASURE = "event_recall"
PAIRED_TITLE = "incidents detected, runs paired by seed and settings (Wilcoxon signed rank, two-sided, Holm)"
TRIGGER_TITLE = "false alerts while a benign trigger went on, and in the recovery time after it (all runs together)"
_TEMPLATE = Path(__file__).parent / "templates" / "comparison.html.j2"


def as_text(comparison: Comparison) -> str:
    """Plain text, one line per row, columns aligned; factors that all rows share stand above the table."""
    if not comparison.rows:
        return "no runs to compare"
    shared, varying = split_factors(comparison.rows)
    measures, absent = known_measures(comparison)
    header = [*headings(varying), "runs", *(SHORT[m] for m in measures)]
    body = [
        [
            *(show_factor(name, row.factors[name]) for name in varying),
            _runs(row),
            *(show_estimate(comparison, row, m) for m in measures),
        ]
        for row in comparison.rows
    ]
    lines = [f"same in all: {', '.join(f'{k} {show_factor(k, v)}' for k, v in shared.items())}"] if shared else []
    lines += _aligned([header, *body])
    lines.append(caption(comparison))
    if absent:
        lines.append(f"not defined in any run: {', '.join(SHORT[m] for m in absent)}")
    lines += [f"smallest rate detected{' (' + what + ')' if what else ''}: {rate}" for what, rate in rates(comparison)]
    if tests := paired_tests(comparison, PAIRED_MEASURE):
        lines += [f"{PAIRED_TITLE}:", *(f"  {line}" for line in paired_lines(tests))]
        if matrix := paired_matrix(tests):
            lines += [*(f"  {line}" for line in _aligned(matrix)), MATRIX_NOTE]
    heading, kinds = triggers(comparison)
    if kinds:
        lines += ["", f"{TRIGGER_TITLE}:", *_aligned([heading, *kinds])]
    lines += [f"{run.state}: {run.folder}: {run.error}" for run in comparison.unfinished]
    return "\n".join(lines)


def _runs(row: Row) -> str:
    return str(len(row.done)) if len(row.done) == len(row.runs) else f"{len(row.done)} of {len(row.runs)}"


def _reports(row: Row, folder: Path | None) -> list[tuple[str, str]]:
    """(seed, relative link) of the reports of a row's finished runs."""
    if folder is None:
        return []
    pages = [(f"seed {run.seed}", run.folder / "report.html") for run in row.done]
    return [(name, Path(os.path.relpath(page, folder)).as_posix()) for name, page in pages if page.exists()]


def _aligned(cells: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(line[i]) for line in cells) for i in range(len(cells[0]))]
    lines = ["  ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)).rstrip() for line in cells]
    return [lines[0], "  ".join("-" * w for w in widths), *lines[1:]]


def split_factors(rows: Sequence[Row]) -> tuple[dict[str, Value], list[str]]:
    """(factors with one value for all rows, names of the others); a single row has only shared factors."""
    names = list(rows[0].factors)
    varying = [n for n in names if len({repr(row.factors[n]) for row in rows}) > 1]
    return {n: rows[0].factors[n] for n in names if n not in varying}, varying


def headings(factors: Sequence[str]) -> list[str]:
    """Names of factors without their group, where that is not ambiguous."""
    short = [
        name.removeprefix("load.") if name.startswith("load.test.") else name.rpartition(".")[2] for name in factors
    ]
    return [s if short.count(s) == 1 else name for s, name in zip(short, factors, strict=True)]


def known_measures(comparison: Comparison) -> tuple[list[str], list[str]]:
    """(main measures that some row has, main measures that none has)."""
    known = [m for m in MAIN_MEASURES if any(row.estimate(m, comparison.confidence) for row in comparison.rows)]
    return known, [m for m in MAIN_MEASURES if m not in known]


def show_factor(name: str, value: Value) -> str:
    """A factor's value; the leak rate in bytes a minute."""
    if value is None:
        return NOTHING
    if name == RATE and isinstance(value, int | float):
        return f"{format_bytes(value)}/min"
    return f"{value:g}" if isinstance(value, float) else str(value)


def show_estimate(comparison: Comparison, row: Row, measure: str) -> str:
    """`mean ± half width`, with the number of runs behind it where the measure is not defined in all."""
    found = row.estimate(measure, comparison.confidence)
    if found is None:
        return NOTHING
    text = in_unit(measure, found.mean)
    if found.half_width is not None:
        text += f" ± {in_unit(measure, found.half_width)}"
    return text if found.defined == found.runs else f"{text} ({found.defined} of {found.runs})"


def caption(comparison: Comparison) -> str:
    """What the ± is, and at which alert budget the runs were judged."""
    level = f"{100 * comparison.confidence:g} %"
    text = f"mean ± half width of the {level} Student t interval over runs (seeds), ± 0 where all agree"
    if all(len(row.done) < MIN_INTERVAL_RUNS for row in comparison.rows):
        text = f"mean over runs (seeds); fewer than {MIN_INTERVAL_RUNS} a row give no interval (sweep seed=1,2,3)"
    budgets = {run.alerts_per_day for row in comparison.rows for run in row.done}
    text += f"; {NOTHING} where not defined; delay and loss over detected incidents only"
    return f"{text}; alert budget {budgets.pop():g} a day" if len(budgets) == 1 else text


def rates(comparison: Comparison) -> list[tuple[str, str]]:
    """(which rows, their smallest detectable rate in words)."""
    found = comparison.smallest_rates()
    if not found:
        return []
    names = [n for n in found[0][0] if len({repr(rest[n]) for rest, _ in found}) > 1]
    none = f"none (event recall < {DETECTABLE_RECALL:g} at the greatest rate run)"
    return [
        (
            ", ".join(f"{n} {show_factor(n, rest[n])}" for n in names),
            none if rate is None else f"{format_bytes(rate)}/min (event recall ≥ {DETECTABLE_RECALL:g} from there up)",
        )
        for rest, rate in found
    ]


def triggers(comparison: Comparison) -> tuple[list[str], list[list[str]]]:
    """Heading and rows of the table of benign triggers; empty where no run had any."""
    done = [run for row in comparison.rows for run in row.done if run.metrics]
    return trigger_lines([(str((run.spec.get("detector") or {}).get("name")), run.metrics) for run in done])


def as_html(comparison: Comparison, folder: Path | None = None) -> str:
    """One HTML document; every text from a run directory is escaped. Links are relative to `folder`, if it is given."""
    import jinja2

    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    shared, varying = split_factors(comparison.rows) if comparison.rows else ({}, [])
    measures, absent = known_measures(comparison)
    tests = paired_tests(comparison, PAIRED_MEASURE)
    rows = [
        {
            "factors": [show_factor(n, row.factors[n]) for n in varying],
            "runs": _runs(row),
            "state": describe_states(row),
            "reports": _reports(row, folder),
            "cells": [show_estimate(comparison, row, m) for m in measures],
        }
        for row in comparison.rows
    ]
    return environment.from_string(_TEMPLATE.read_text(encoding="utf-8")).render(
        light=css_variables(False),
        dark=css_variables(True),
        fonts=FONTS,
        shared=[(k, show_factor(k, v)) for k, v in shared.items()],
        varying=headings(varying),
        headings=[LABELS[m] for m in measures],
        absent=[LABELS[m] for m in absent],
        rows=rows,
        caption=caption(comparison),
        rates=rates(comparison),
        trigger_title=TRIGGER_TITLE,
        trigger_heading=triggers(comparison)[0],
        triggers=triggers(comparison)[1],
        paired_title=PAIRED_TITLE,
        paired=paired_lines(tests),
        matrix=paired_matrix(tests),
        matrix_note=MATRIX_NOTE,
        unfinished=[(run.folder.name, run.state, run.error) for run in comparison.unfinished],
        finished=sum(len(row.done) for row in comparison.rows),
        total=sum(len(row.runs) for row in comparison.rows),
    )
