"""Charts of one run as SVG: score over time, ROC, precision–recall, and how far the threshold reaches.

matplotlib's SVG writer is deterministic once its salt is fixed and its date is left out. One inch is 72 CSS pixels
here, so sizes below are pixels.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mimir.report.bands import draw_bands, trigger_events
from mimir.report.load import RunFiles
from mimir.report.theme import LIGHT
from mimir.report.words import percent
from mimir.units import HOUR_S, format_duration

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis

Floats = NDArray[np.float64]
MAX_POINTS = 1_500
WIDE, NARROW, SQUARE = (1040, 300), (360, 300), (340, 300)
LINES = ("accent", "second", "third", "muted")
STYLE: Any = {
    "svg.hashsalt": "mimir",
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 11,
    "axes.edgecolor": LIGHT["line"],
    "axes.labelcolor": LIGHT["muted"],
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.facecolor": LIGHT["card"],
    "figure.facecolor": LIGHT["card"],
    "xtick.color": LIGHT["muted"],
    "ytick.color": LIGHT["muted"],
    "text.color": LIGHT["ink"],
    "axes.grid": True,
    "grid.color": LIGHT["soft"],
    "grid.linewidth": 1,
    "axes.axisbelow": True,
    "legend.frameon": False,
    "legend.fontsize": 10,
    "path.simplify": False,
    "lines.linewidth": 1.4,
}


@contextmanager
def new_chart(size: tuple[int, int], out: dict[str, str], name: str) -> Iterator[Axes]:
    """An empty chart; its SVG is put into `out` when the block ends."""
    import matplotlib as mpl
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(size[0] / 72, size[1] / 72), layout="constrained")
        FigureCanvasSVG(figure)
        axes = figure.add_subplot()
        yield axes
        text = io.StringIO()
        figure.savefig(text, format="svg", metadata={"Date": None, "Creator": None})
        out[name] = text.getvalue()


def draw_charts(run: RunFiles) -> dict[str, str]:
    """Every chart this run has data for: file stem → SVG document."""
    out: dict[str, str] = {}
    for window_s in run.lengths:
        for suffix, size in (("", WIDE), ("_narrow", NARROW)):
            with new_chart(size, out, f"timeline_{window_s}s{suffix}") as axes:
                _timeline(axes, run, window_s)
    charts: dict[str, Callable[[Axes, RunFiles], None]] = {"threshold": _threshold}
    if _curves(run, "roc"):
        charts["roc"] = _roc
    if _curves(run, "precision_recall"):
        charts["precision_recall"] = _precision_recall
    for name, draw in charts.items():
        with new_chart(SQUARE, out, name) as axes:
            draw(axes, run)
    return out


def thinned(times: Floats, values: Floats, limit: int = MAX_POINTS) -> tuple[Floats, Floats]:
    """At most `limit` points: the highest value of each stretch of time stays, with its own time.

    >>> thinned(np.arange(6.0), np.array([0.0, 9.0, 1.0, 2.0, 8.0, 3.0]), 2)
    (array([1., 4.]), array([9., 8.]))
    """
    if len(values) <= limit:
        return times, values
    step = -(-len(values) // limit)
    starts = np.arange(0, len(values), step)
    keep = np.array([start + int(np.argmax(values[start : start + step])) for start in starts])
    return times[keep], values[keep]


def _timeline(axes: Axes, run: RunFiles, window_s: int) -> None:
    table = run.scores
    table = table[(table["window_s"] == window_s) & (table["recording"] == "test")]
    draw_scores(axes, run, table, run.window(window_s)["threshold"]["value"], run.incidents(window_s))


def draw_scores(
    axes: Axes, run: RunFiles, table: pd.DataFrame, threshold: float | None, incidents: Sequence[Mapping[str, Any]]
) -> None:
    """Scores over time with the threshold, the alerts and the incidents; `table` has window_start, score, alert."""
    start = table["window_start"].to_numpy(dtype=float)
    score = table["score"].to_numpy(dtype=float)
    origin = start[0] if len(start) else 0.0
    unit, name = (HOUR_S, "hours") if len(start) and start[-1] - origin > 2 * HOUR_S else (60, "minutes")
    for i, row in enumerate(incidents):
        label = "incident" if i == 0 else None
        axes.axvspan(
            (row["start"] - origin) / unit, (row["end"] - origin) / unit, color=LIGHT["shade"], lw=0, label=label
        )
    draw_bands(axes, run, origin, unit, (start[-1] - origin) / unit if len(start) else 1.0)
    axes.plot(*thinned((start - origin) / unit, score), color=LIGHT["accent"], lw=1.1, label="score")
    if threshold is not None:
        axes.axhline(threshold, color=LIGHT["ink"], lw=1, ls=(0, (5, 3)), label="threshold")
    alert = table["alert"].to_numpy(dtype=bool)
    if alert.any():
        at, height = thinned((start[alert] - origin) / unit, score[alert], 300)
        axes.plot(at, height, "o", color=LIGHT["leak"], ms=3.4, mew=0, label="alert")
    _scale(axes, score, threshold)
    axes.set_xlabel(f"{name} since the test recording began")
    axes.set_ylabel("score")
    axes.margins(x=0.01)
    axes.figure.legend(
        *axes.get_legend_handles_labels(), loc="outside upper right", ncols=4, handlelength=1.4, columnspacing=1.2
    )


def _scale(axes: Axes, score: Floats, threshold: float | None) -> None:
    """A logarithmic score axis where the values span more than two decades."""
    values = score[np.isfinite(score)] if threshold is None else np.append(score[np.isfinite(score)], threshold)
    if not len(values):
        return
    typical, high = float(np.median(np.abs(values))), float(values.max())
    if typical <= 0 or high / typical < 30:
        _engineering(axes.yaxis, high)
        return
    low = float(values.min())
    if low > 0:
        axes.set_yscale("log")
    else:
        axes.set_yscale("symlog", linthresh=typical)


def _engineering(axis: Axis, high: float) -> None:
    """1.6 M instead of a power of ten in the corner."""
    from matplotlib.ticker import EngFormatter

    if high >= 10_000:
        axis.set_major_formatter(EngFormatter(sep=" "))


def _threshold(axes: Axes, run: RunFiles) -> None:
    """Share of windows whose score is at least x: calibration against benign test windows, with the level asked for."""
    from matplotlib.ticker import MaxNLocator

    table = run.scores[run.scores["window_s"] == run.primary_s]
    quiet = _benign(table["window_start"].to_numpy(dtype=float), run)
    parts = {
        "calibration": table[table["recording"] == "calibrate"]["score"].to_numpy(dtype=float),
        "test, benign": table[(table["recording"] == "test") & quiet]["score"].to_numpy(dtype=float),
    }
    block = run.window()["threshold"]
    for (label, values), colour in zip(parts.items(), LINES, strict=False):
        ordered = np.sort(values[np.isfinite(values)])
        if len(ordered):
            share = 1 - np.arange(len(ordered)) / len(ordered)
            keep = np.unique(
                np.append(np.linspace(0, len(ordered) - 1, 400).astype(int), np.arange(len(ordered))[-100:])
            )
            axes.step(ordered[keep], share[keep], where="pre", color=LIGHT[colour], label=label)
    axes.axhline(block["level"], color=LIGHT["muted"], lw=1, ls=":", label="level asked for")
    if block["value"] is not None:
        axes.axvline(block["value"], color=LIGHT["ink"], lw=1, ls=(0, (5, 3)), label="threshold")
    axes.set_yscale("log")
    finite = np.concatenate([v[np.isfinite(v)] for v in parts.values()])
    if len(finite) and finite.min() > 0 and finite.max() / np.median(finite) > 30:
        axes.set_xscale("log")
    elif len(finite):
        _engineering(axes.xaxis, float(finite.max()))
        axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.set_xlabel("score")
    axes.set_ylabel("share of windows at or above")
    _legend(axes)


def _benign(start: Floats, run: RunFiles) -> NDArray[np.bool_]:
    quiet = np.ones(len(start), dtype=bool)
    for row in run.incidents():
        quiet &= (start >= row["end"]) | (start + run.primary_s <= row["start"])
    return quiet


def _curves(run: RunFiles, kind: str) -> dict[int, Floats]:
    curves = run.metrics.get("curves", {})
    found = {s: (curves.get(str(s)) or {}).get(kind) for s in run.lengths}
    return {s: np.asarray(points, dtype=float) for s, points in found.items() if points}


def _roc(axes: Axes, run: RunFiles) -> None:
    """True against false positives, false ones on a logarithmic axis: only its left end matters at an alert budget."""
    floor = 1.0
    for (window_s, points), colour in zip(_curves(run, "roc").items(), LINES, strict=False):
        test = run.window(window_s)["test"]
        smallest = 0.5 / max(test["windows"] - test["positive_windows"], 1)
        floor = min(floor, smallest)
        axes.step(
            np.maximum(points[:, 0], smallest),
            points[:, 1],
            where="post",
            color=LIGHT[colour],
            label=f"{window_s} s windows",
        )
    level = run.window()["threshold"]["level"]
    axes.axvline(level, color=LIGHT["ink"], lw=1, ls=(0, (5, 3)), label=f"budget, {run.primary_s} s")
    chance = np.geomspace(min(floor, level), 1, 60)
    axes.plot(chance, chance, color=LIGHT["muted"], lw=1, ls=":", label="chance")
    axes.set_xscale("log")
    axes.set(xlim=(min(floor, level) * 0.8, 1), ylim=(-0.02, 1.04))
    axes.set_xlabel("false-positive rate")
    axes.set_ylabel("true-positive rate")
    _legend(axes)


def _precision_recall(axes: Axes, run: RunFiles) -> None:
    for (window_s, points), colour in zip(_curves(run, "precision_recall").items(), LINES, strict=False):
        axes.plot(points[:, 0], points[:, 1], color=LIGHT[colour], label=f"{window_s} s windows")
    prevalence = run.window()["test"]["prevalence"]
    axes.axhline(prevalence, color=LIGHT["muted"], lw=1, ls=":", label=f"prevalence {percent(prevalence)}")
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.04))
    axes.set_xlabel("recall")
    axes.set_ylabel("precision")
    _legend(axes)


def _legend(axes: Axes) -> None:
    axes.figure.legend(
        *axes.get_legend_handles_labels(), loc="outside upper left", ncols=2, handlelength=1.4, columnspacing=1
    )


def describe_timeline(run: RunFiles, window_s: int) -> str:
    """What a screen reader says of a timeline."""
    block, incidents = run.window(window_s), run.incidents(window_s)
    hours = format_duration(block["test"]["hours"] * HOUR_S)
    found = sum(bool(row["detected"]) for row in incidents)
    leaks = f"{len(incidents)} incidents shaded ({found} detected)" if incidents else "no incident"
    events = trigger_events(run)
    if events:
        leaks += f", {len(events)} benign trigger{'s' if len(events) != 1 else ''} as bands with letters"
    return (
        f"Score of {block['test']['windows']} windows of {window_s} s over {hours}, "
        f"with the threshold, {leaks}, and the alerts"
    )
