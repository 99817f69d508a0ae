"""Compare finished runs: one row per distinct spec, measures as mean ± interval over seeds, failures shown."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mimir.files import read_json
from mimir.report.factors import Value, factors, sort_key

if TYPE_CHECKING:
    import pandas as pd

#: measures a reader sees; the table and the CSV hold all
MAIN_MEASURES = (
    "event_recall",
    "delay_median_s",
    "bytes_before_alert_median",
    "false_alerts_per_day",
    "average_precision",
    "f1",
    "precision_monthly",
    "path_top1",
)
RATE = "exfiltration.rate_bytes_per_min"
DETECTABLE_RECALL = 0.95
DEFAULT_CONFIDENCE = 0.95
MIN_INTERVAL_RUNS = 3  #: of two runs the 95 % interval is 12.7 times their standard error: it says nothing


@dataclass(frozen=True)
class Run:
    """One run directory as far as it can be read. `measures` is None unless the run is done."""

    folder: Path
    state: str  #: done, failed, running, or unreadable
    error: str = ""
    seed: int | None = None
    spec: Mapping[str, Any] = field(default_factory=dict)
    measures: Mapping[str, float | None] | None = None
    confidence: float = DEFAULT_CONFIDENCE
    alerts_per_day: float = math.nan
    expectation_missed: bool = False
    metrics: Mapping[str, Any] = field(default_factory=dict)  #: of a finished run


@dataclass(frozen=True)
class Estimate:
    """Mean of a measure over runs, with Student's t interval of the mean where there are MIN_INTERVAL_RUNS."""

    mean: float
    half_width: float | None
    defined: int  #: runs in which the measure has a value
    runs: int  #: finished runs


@dataclass(frozen=True)
class Row:
    """Runs that differ in nothing but the seed."""

    factors: dict[str, Value]
    runs: tuple[Run, ...]

    @property
    def done(self) -> list[Run]:
        """The runs that finished."""
        return [run for run in self.runs if run.measures is not None]

    def estimate(self, measure: str, confidence: float) -> Estimate | None:
        """Mean over the finished runs in which `measure` is defined; None when it is in none."""
        values = [m for run in self.done if run.measures and (m := run.measures.get(measure)) is not None]
        if not values:
            return None
        mean = math.fsum(values) / len(values)
        return Estimate(mean, _half_width(values, mean, confidence), len(values), len(self.done))


@dataclass(frozen=True)
class Comparison:
    """Rows in the order of their factors."""

    rows: tuple[Row, ...]
    confidence: float  #: of every interval

    @property
    def unfinished(self) -> list[Run]:
        """Runs that failed, were interrupted or cannot be read."""
        return [run for row in self.rows for run in row.runs if run.measures is None]

    @property
    def table(self) -> pd.DataFrame:
        """One line per row: factors, `runs`, `finished`, `state`, `seeds`, then for every measure its mean, `_low` and
        `_high` (ends of the interval) and `_runs` (runs in which it is defined), and `errors`."""
        import pandas as pd

        measures = sorted({m for row in self.rows for run in row.done for m in run.measures or ()})
        ordered = [*MAIN_MEASURES, *(m for m in measures if m not in MAIN_MEASURES)]
        return pd.DataFrame([self._line(row, ordered) for row in self.rows])

    def _line(self, row: Row, measures: Sequence[str]) -> dict[str, Any]:
        line: dict[str, Any] = {
            **row.factors,
            "runs": len(row.runs),
            "finished": len(row.done),
            "state": describe_states(row),
            "seeds": " ".join(str(run.seed) for run in row.runs if run.seed is not None),
        }
        for measure in measures:
            found = row.estimate(measure, self.confidence)
            width = found.half_width if found else None
            line[measure] = found.mean if found else math.nan
            line[f"{measure}_low"] = math.nan if found is None or width is None else found.mean - width
            line[f"{measure}_high"] = math.nan if found is None or width is None else found.mean + width
            line[f"{measure}_runs"] = found.defined if found else 0
        line["errors"] = "; ".join(run.error for run in row.runs if run.error)
        return line

    def csv(self) -> str:
        """The table as comma-separated text; empty cells where a measure is not defined."""
        return str(self.table.to_csv(index=False, lineterminator="\n"))

    def text(self) -> str:
        """The table for a terminal, main measures only."""
        from mimir.report.comparison_output import as_text

        return as_text(self)

    def html(self, folder: Path | None = None) -> str:
        """A page of its own; loads nothing from elsewhere. Kept in `folder`, it links to the reports of the runs."""
        from mimir.report.comparison_output import as_html

        return as_html(self, folder)

    def smallest_rates(self) -> list[tuple[dict[str, Value], float | None]]:
        """(factors without the rate, smallest detectable rate in bytes a minute) where runs differ in the rate.

        Detectable: mean event recall ≥ DETECTABLE_RECALL at this rate and at every greater one that was run. None when
        not even the greatest rate is.
        """
        series: dict[str, tuple[dict[str, Value], list[tuple[float, float]]]] = {}
        for row in self.rows:
            rest = {k: v for k, v in row.factors.items() if k != RATE}
            rate, recall = row.factors.get(RATE), row.estimate("event_recall", self.confidence)
            if isinstance(rate, int | float) and recall is not None:
                series.setdefault(repr(rest), (rest, []))[1].append((float(rate), recall.mean))
        return [(rest, _smallest(points)) for rest, points in series.values()]


def compare(run_directories: Sequence[Path | str]) -> Comparison:
    """Read run directories and put those that differ only in the seed together. Never fails because a run did."""
    runs = [_read(Path(folder)) for folder in run_directories]
    groups: dict[str, tuple[dict[str, Value], list[Run]]] = {}
    for run, values in zip(runs, factors([run.spec for run in runs]), strict=True):
        alone = {} if run.spec else {"folder": run.folder.name}
        groups.setdefault(repr([*values.items(), alone]), (values, []))[1].append(run)
    rows = [Row(values, tuple(sorted(group, key=_by_seed))) for values, group in groups.values()]
    levels = [run.confidence for run in runs if run.measures is not None]
    return Comparison(tuple(sorted(rows, key=lambda r: sort_key(r.factors))), max(levels, default=DEFAULT_CONFIDENCE))


def describe_states(row: Row) -> str:
    """`done`, or how many runs are in which state."""
    counts: dict[str, int] = {}
    for run in row.runs:
        state = "expectation missed" if run.expectation_missed else run.state
        counts[state] = counts.get(state, 0) + 1
    if len(counts) == 1:
        return next(iter(counts))
    return ", ".join(f"{count} {state}" for state, count in sorted(counts.items()))


def _by_seed(run: Run) -> tuple[int, str]:
    return (-1 if run.seed is None else run.seed, run.folder.name)


def _smallest(points: list[tuple[float, float]]) -> float | None:
    found = None
    for rate, recall in sorted(points, reverse=True):
        if recall < DETECTABLE_RECALL:
            break
        found = rate
    return found


def _half_width(values: Sequence[float], mean: float, confidence: float) -> float | None:
    """t · s / √n (Student 1908)."""
    from scipy.special import stdtrit

    count = len(values)
    if count < MIN_INTERVAL_RUNS:
        return None
    deviation = math.sqrt(math.fsum((v - mean) ** 2 for v in values) / (count - 1))
    return float(stdtrit(count - 1, (1 + confidence) / 2)) * deviation / math.sqrt(count)


def _read(folder: Path) -> Run:
    """A run directory in whatever condition it is."""
    spec, wrong = _document(folder / "spec.yaml")
    status, no_status = _document(folder / "status.json")
    seed = spec.get("seed") if isinstance(spec.get("seed"), int) else None
    state = str(status.get("state") or "unreadable")
    if state != "done" or wrong:
        error = _brief(status.get("error")) or wrong or no_status or _unfinished(status)
        return Run(folder, state if not wrong else "unreadable", error, seed, spec)
    metrics, no_metrics = _document(folder / "metrics.json")
    try:
        part = metrics["windows"][str(metrics["primary_window_s"])]
        measures = {name: m["value"] for name, m in part["overall"].items()}
        level, budget = float(metrics["confidence"]), float(metrics["alerts_per_day"])
    except (KeyError, TypeError) as error:
        return Run(folder, "unreadable", no_metrics or f"metrics.json lacks {error}", seed, spec)
    return Run(folder, state, "", seed, spec, measures, level, budget, status.get("exit_code") == 3, metrics)


def _document(path: Path) -> tuple[dict[str, Any], str]:
    """(content, "") of a YAML or JSON file that holds a mapping, else ({}, what is wrong)."""
    import yaml

    try:
        text = path.read_text(encoding="utf-8")
        found = read_json(path) if path.suffix == ".json" else yaml.safe_load(text)
    except FileNotFoundError:
        return {}, f"{path.name} is missing"
    except (OSError, ValueError, yaml.YAMLError) as error:
        return {}, f"{path.name} cannot be read: {_brief(str(error))}"
    return (found, "") if found and isinstance(found, dict) else ({}, f"{path.name} holds no mapping")


def _unfinished(status: Mapping[str, Any]) -> str:
    return f"not finished, last stage: {status.get('stage') or 'none'}"


def _brief(text: Any) -> str:
    """An error in one line: of a traceback the line that names the exception, else everything."""
    lines = [line.rstrip() for line in str(text or "").splitlines() if line.strip()]
    if lines and lines[0].startswith("Traceback"):
        frames = [i for i, line in enumerate(lines) if line.startswith("  File ")]
        named = [line for line in lines[max(frames, default=0) :] if not line.startswith((" ", "Traceback"))]
        return named[0] if named else lines[-1]
    return " ".join(line.strip() for line in lines)
