"""Figures of a benchmark as PNG: lines with intervals over a factor, requested against realised alerts, mean ranks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from mimir.report.benchmark.ranks import Ranks
from mimir.report.png import png_figure
from mimir.report.theme import LIGHT

if TYPE_CHECKING:
    from matplotlib.axes import Axes

CHAMPION = "invariants"  #: the flagship
COLOURS = ("#1f5fc4", "#00766c", "#7a4bb5", "#8f5600", "#55606e", "#17703f", "#b5487a", "#4f8fb5", "#7f7f00")
MARKERS = "osD^vP*X<>"
LINES = ("-", (0, (5, 2)), (0, (2, 2)))


def curves(
    path: Path,
    rows: Sequence[tuple[str, pd.DataFrame]],
    panel: str,
    x: str,
    label: str,
    order: Sequence[str],
    logarithmic: bool = False,
) -> None:
    """A row of panels for each (label, table), one panel a value of `panel`, one line a detector, the flagship's interval shaded.

    Tables have the columns detector, panel, x, mean, low, high; values are shares.
    """
    names = sorted({name for _, table in rows for name in table[panel]})
    size = 1.2 + 3.5 * len(names), 2.9 * len(rows) + 0.4 + 0.17 * len(order) / _columns(len(names))
    with png_figure(path, (len(rows), len(names)), size, sharey=True, sharex="col") as axes:
        for at, (measure, table) in enumerate(rows):
            for axis, name in zip(axes[at * len(names) :], names, strict=False):
                _lines(axis, table[table[panel] == name], x, order)
                if at == 0:
                    axis.set_title(str(name), fontsize=11, color=LIGHT["ink"])
                if at == len(rows) - 1:
                    axis.set_xlabel(label)
                if logarithmic:
                    _logarithmic(axis, table[x])
            axes[at * len(names)].set_ylabel(measure)
        axes[0].set_ylim(-0.03, 1.05)
        _legend(axes, len(names))


def _lines(axis: Axes, table: pd.DataFrame, x: str, order: Sequence[str]) -> None:
    for number, detector in enumerate(order):
        part = table[table["detector"] == detector].sort_values(x)
        if len(part):
            axis.plot(part[x], part["mean"], label=detector, **_style(number, detector))
        if detector == CHAMPION and part["low"].notna().all():
            axis.fill_between(part[x], part["low"].clip(0, 1), part["high"].clip(0, 1), color=LIGHT["shade"], lw=0)


def _logarithmic(axis: Axes, values: pd.Series) -> None:
    """A logarithmic axis; few values that span little are its ticks."""
    axis.set_xscale("log")
    ticks = sorted(values.unique())
    if len(ticks) < 8 and ticks[-1] / ticks[0] < 100:
        axis.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
        axis.minorticks_off()


def _style(number: int, detector: str) -> dict[str, Any]:
    """The flagship stands out, the others are told apart by colour, dashes and marker."""
    if detector == CHAMPION:
        return {"color": LIGHT["leak"], "lw": 2.4, "marker": "o", "ms": 5, "zorder": 5}
    return {
        "color": COLOURS[number % len(COLOURS)],
        "ls": LINES[number // len(COLOURS) % len(LINES)],
        "marker": MARKERS[number % len(MARKERS)],
        "ms": 3.5,
        "lw": 1.1,
    }


def _columns(panels: int) -> int:
    return max(2, min(6, panels * 2))


def _legend(axes: Sequence[Axes], panels: int) -> None:
    known: dict[str, Any] = {}
    for axis in axes:
        for handle, label in zip(*axis.get_legend_handles_labels(), strict=True):
            known.setdefault(label, handle)
    axes[0].figure.legend(known.values(), known.keys(), loc="outside lower center", ncols=_columns(panels), fontsize=9)


def calibration(path: Path, table: pd.DataFrame, order: Sequence[str]) -> None:
    """Alerts a day on benign traffic against the budget asked for; the diagonal is right, the band within a factor 2."""
    with png_figure(path, (1, 1), (6.4, 6.2)) as (axis,):
        asked = np.array(sorted(table["budget"].unique()))
        axis.plot(asked, asked, color=LIGHT["muted"], lw=1)
        axis.fill_between(asked, asked / 2, asked * 2, color=LIGHT["line"], alpha=0.45, lw=0)
        for number, detector in enumerate(order):
            part = table[table["detector"] == detector].sort_values("budget")
            shown = part[part["per_day"] > 0]
            if len(shown):
                axis.plot(shown["budget"], shown["per_day"], label=detector, **_style(number, detector))
            if detector == CHAMPION and len(shown):
                bars = shown["per_day"] - shown["low"], shown["high"] - shown["per_day"]
                axis.errorbar(shown["budget"], shown["per_day"], bars, fmt="none", color=LIGHT["leak"], lw=1, capsize=2)
        axis.set_xscale("log")
        axis.set_yscale("log")
        axis.set_xlabel("alerts a day asked for")
        axis.set_ylabel("false alerts a day raised")
        _legend([axis], 2)


def critical_difference(path: Path, ranks: Ranks) -> None:
    """Mean ranks on a line, best left; bars join detectors that Nemenyi's test does not tell apart."""
    mean, count = ranks.mean, len(ranks.mean)
    groups = _alike(mean.to_numpy(), ranks.critical)
    height = 1.3 + 0.17 * count + 0.12 * len(groups)
    with png_figure(path, (1, 1), (8.6, height)) as (axis,):
        axis.set_xlim(0.5, count + 0.5)
        half = (count + 1) // 2
        depth = 1.2 + 0.35 * len(groups)
        axis.set_ylim(-depth - 0.7 * half, 1.6)
        axis.axhline(0, color=LIGHT["ink"], lw=1)
        for tick in range(1, count + 1):
            axis.plot([tick, tick], [0, 0.15], color=LIGHT["ink"], lw=1)
            axis.text(tick, 0.25, str(tick), ha="center", va="bottom", fontsize=9)
        for number, (name, rank) in enumerate(mean.items()):
            left = number < half
            row = number if left else count - 1 - number
            y = -depth - 0.7 * row
            end = 0.6 if left else count + 0.4
            axis.plot([rank, rank, end], [0, y, y], color=LIGHT["muted"], lw=0.9)
            axis.text(end, y + 0.06, f"{name}  {rank:.2f}", ha="left" if left else "right", va="bottom", fontsize=9,
                      bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.6})  # fmt: skip
        for number, (first, last) in enumerate(groups):
            y = -0.35 * (number + 1)
            axis.plot([first - 0.04, last + 0.04], [y, y], color=LIGHT["accent"], lw=3.2, solid_capstyle="round")
        axis.plot([1, 1 + ranks.critical], [1.1, 1.1], color=LIGHT["leak"], lw=2)
        axis.text(1, 1.2, f"critical difference {ranks.critical:.2f}", ha="left", va="bottom", fontsize=9)
        axis.set_axis_off()


def _alike(mean: np.ndarray, critical: float) -> list[tuple[float, float]]:
    """Longest runs of mean ranks (ascending) within the critical difference, of two or more.

    >>> _alike(np.array([1.0, 1.4, 2.2, 4.0]), 1.0)
    [(1.0, 1.4), (1.4, 2.2)]
    """
    runs: list[tuple[int, int]] = []
    for first in range(len(mean)):
        last = int(np.flatnonzero(mean <= mean[first] + critical)[-1])
        if last > first and (not runs or last > runs[-1][1]):
            runs.append((first, last))
    return [(float(mean[a]), float(mean[b])) for a, b in runs]
