"""The result of a run as plain text, for the end of `python run.py`."""

from __future__ import annotations

import textwrap
from pathlib import Path

from mimir.report.load import RunFiles, load_run
from mimir.report.words import Shown, shown, verdict

WIDTH = 100
MEASURES = (
    "event_recall", "delay_median_s", "bytes_before_alert_median", "false_alerts_per_day", "average_precision", "f1",
    "path_top1",
)  # fmt: skip


def summarise(run_directory: Path) -> str:
    """Verdict, one line for each main measure and window length, where the run and its report are."""
    run = load_run(run_directory)
    found = verdict(run)
    lines = ["", *textwrap.wrap(found.sentence, WIDTH), "", *_table(run)]
    places = {"run": _here(run.folder), "report": _here(run.folder / "report.html")}
    lines += ["", *(f"{name:<7} {place}" for name, place in places.items() if (Path(place)).exists())]
    return "\n".join(lines)


def _table(run: RunFiles) -> list[str]:
    """Measures as rows; for each window length a column, the primary one with its interval."""
    columns = {s: [shown(name, run.window(s)["overall"].get(name)) for name in MEASURES] for s in run.lengths}
    cells = {s: [_cell(one, s == run.primary_s) for one in column] for s, column in columns.items()}
    heads = {s: f"{s} s windows" for s in run.lengths}
    if run.metrics.get("stream"):
        overall = run.metrics["stream"]["overall"]
        heads[0], cells[0] = "one stream", [shown(name, overall.get(name)).value for name in MEASURES]
    names = [one.label for one in columns[run.primary_s]]
    first = max(map(len, names))
    widths = {s: max(len(heads[s]), *map(len, column)) for s, column in cells.items()}
    head = " " * first + "".join(f"   {heads[s]:>{width}}" for s, width in widths.items())
    rows = [
        name.ljust(first) + "".join(f"   {cells[s][i]:>{w}}" for s, w in widths.items()) for i, name in enumerate(names)
    ]
    unknown = {one.short: one.reason for one in columns[run.primary_s] if not one.known}
    reasons = [
        f"– {reason}: {'; '.join(n for n in unknown if unknown[n] == reason)}"
        for reason in dict.fromkeys(unknown.values())
    ]
    return [head, *rows, *(line for reason in reasons for line in textwrap.wrap(reason, WIDTH, subsequent_indent="  "))]


def _cell(one: Shown, interval: bool) -> str:
    return f"{one.value} [{one.interval}]" if interval and one.interval else one.value


def _here(path: Path) -> str:
    """Relative to the current folder where that is shorter."""
    here = Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)
