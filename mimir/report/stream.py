"""The one stream of alerts over all window lengths: its threshold, what it reached, its alerts, its timeline."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mimir.files import read_json, read_jsonl
from mimir.report.alerts import Episode, episodes_of, longest
from mimir.report.figures import NARROW, WIDE, draw_scores, new_chart
from mimir.report.load import RunFiles
from mimir.report.words import plain, shown
from mimir.units import format_duration

FILES = ("stream.parquet", "stream.jsonl", "detector/stream.json")
MEASURES = ("event_recall", "delay_median_s", "bytes_before_alert_median", "false_alerts_per_day", "path_top1")


@dataclass(frozen=True)
class StreamBlock:
    """What the page says of the stream."""

    facts: list[tuple[str, str]]
    episodes: list[tuple[Episode, str]]  #: each with the window lengths that its alerts came from
    hidden: int
    caption: str


def has_stream(run: RunFiles) -> bool:
    """Whether the run has one: with a single window length there is none."""
    return bool(run.metrics.get("stream")) and all((run.folder / name).exists() for name in FILES)


def draw_stream_charts(run: RunFiles) -> dict[str, str]:
    """`stream` and `stream_narrow` as SVG; {} without a stream."""
    out: dict[str, str] = {}
    if not has_stream(run):
        return out
    import pandas as pd

    table = pd.read_parquet(run.folder / "stream.parquet")
    test = table[table["recording"] == "test"].sort_values("window_start", ignore_index=True)
    threshold = read_json(run.folder / "detector" / "stream.json")["value"]
    for suffix, size in (("", WIDE), ("_narrow", NARROW)):
        with new_chart(size, out, f"stream{suffix}") as axes:
            draw_scores(axes, run, test, threshold, run.incidents(max(run.lengths)))
    return out


def stream_block(run: RunFiles) -> StreamBlock | None:
    """Facts, episodes and caption; None without a stream."""
    if not has_stream(run):
        return None
    threshold = read_json(run.folder / "detector" / "stream.json")
    alerts = read_jsonl(run.folder / "stream.jsonl")
    groups = episodes_of(alerts)
    episodes = [(Episode.of(group, run), _sources(group)) for group in longest(groups)]
    lengths = " and ".join(f"{s} s" for s in sorted(run.lengths, reverse=True))
    said = f"{len(alerts)} alert{'s' if len(alerts) != 1 else ''} in {len(groups)} episode{'s' if len(groups) != 1 else ''}"
    return StreamBlock(
        _facts(run, threshold), episodes, len(groups) - len(episodes),
        f"Scores of {lengths} windows as one, for each {max(run.lengths)} s of the test recording; {said}",
    )  # fmt: skip


def _facts(run: RunFiles, threshold: Mapping[str, Any]) -> list[tuple[str, str]]:
    longest = max(run.lengths)
    count = int(threshold["calibration_windows"])
    extrapolated = ", extrapolated: rarer than calibration can show" if threshold["extrapolated"] else ""
    facts = [
        ("Alert budget", f"{plain(run.metrics['alerts_per_day'])} a day for all window lengths together"),
        ("Threshold", f"{plain(threshold['value'])}{extrapolated}"),
        ("Calibrated on", f"{count:,} benign windows ({format_duration(count * longest)})"),
    ]
    overall = run.metrics["stream"]["overall"]
    for one in (shown(name, overall.get(name)) for name in MEASURES):
        interval = f" [{one.interval}]" if one.interval else ""
        facts.append((one.label, f"{one.value}{interval}" if one.known else f"not known: {one.reason}"))
    return facts


def _sources(group: list[dict[str, Any]]) -> str:
    return ", ".join(f"{s} s" for s in sorted({int(alert["from_window_s"]) for alert in group}, reverse=True))
