"""Charts of what a run asked for: user load against the requests that came, and how fast each leak went."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mimir.report.figures import LINES, NARROW, WIDE, Floats, new_chart
from mimir.report.load import RunFiles
from mimir.report.theme import LIGHT
from mimir.report.words import percent
from mimir.units import HOUR_S

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_SHORT = (WIDE[0], 220), (NARROW[0], 240)
MOST_LEAKS = 4  #: more lines cannot be told apart; the first ones are drawn


def draw_load_charts(run: RunFiles) -> dict[str, str]:
    """`load`, `pacing` and their `_narrow` forms, where the run has the data: file stem → SVG document."""
    out: dict[str, str] = {}
    load, leaks = load_series(run), leak_series(run)
    for suffix, size in zip(("", "_narrow"), _SHORT, strict=True):
        if load is not None:
            with new_chart(size, out, f"load{suffix}") as axes:
                _load(axes, *load)
        if leaks:
            with new_chart(size, out, f"pacing{suffix}") as axes:
                _pacing(axes, leaks)
    return out


def load_series(run: RunFiles) -> tuple[Floats, Floats, Floats] | None:
    """(time since the test recording began in s, requests a minute asked for, requests a minute reached), per window."""
    planned = run.plan.get("cluster") or {}
    asked = ((planned.get("load") or {}).get("test") or {}).get("asked")
    counted = run.entry_requests
    if not asked or counted is None:
        return None
    start, requests = counted
    offset_s = start - start[0]
    values = np.asarray(asked["requests_per_min"], dtype=np.float64)
    wanted = np.interp(offset_s + run.primary_s / 2, np.arange(len(values)) * float(asked["every_s"]), values)
    return offset_s, wanted, requests * 60 / run.primary_s


def leak_series(run: RunFiles) -> list[tuple[str, Floats, Floats]]:
    """(incident, minutes since it began, delivered bytes a minute) of the first leaks of the test recording."""
    rows = [r for r in run.truth if r["recording"] == "test" and r.get("delivered") and r["bytes_delivered"] > 0]
    return [_pace(row) for row in sorted(rows, key=lambda r: r["start"])[:MOST_LEAKS]]


def _pace(row: dict[str, Any]) -> tuple[str, Floats, Floats]:
    """A ledger's cumulative bytes as a rate, in steps of a twentieth of the leak, at least 10 s."""
    points = np.array([[row["start"], 0.0], *row["delivered"]], dtype=float)
    lasting = max(float(row["end"]) - float(row["start"]), 1.0)
    edges = row["start"] + np.linspace(0, lasting, max(2, min(61, int(lasting / 10) + 1)))
    total = np.interp(edges, points[:, 0], points[:, 1])
    rate = np.diff(total) / np.diff(edges) * 60
    middle: NDArray[np.float64] = ((edges[:-1] + edges[1:]) / 2 - row["start"]) / 60
    return str(row["incident"]), middle, rate


def _load(axes: Axes, offset_s: Floats, asked: Floats, reached: Floats) -> None:
    unit, name = (HOUR_S, "hours") if offset_s[-1] > 2 * HOUR_S else (60, "minutes")
    axes.plot(offset_s / unit, reached, color=LIGHT["accent"], lw=1.1, label="reached: requests in the capture")
    axes.plot(offset_s / unit, asked, color=LIGHT["ink"], lw=1, ls=(0, (5, 3)), label="asked: users of the profile")
    _finish(axes, f"{name} since the test recording began", "requests a minute")


def _pacing(axes: Axes, leaks: list[tuple[str, Floats, Floats]]) -> None:
    from matplotlib.ticker import EngFormatter

    for (incident, minutes, rate), colour in zip(leaks, LINES, strict=False):
        axes.step(minutes, rate, where="mid", color=LIGHT[colour], lw=1.1, label=incident)
    axes.yaxis.set_major_formatter(EngFormatter(unit="B", sep=" "))
    _finish(axes, "minutes since the incident began", "delivered a minute")


def _finish(axes: Axes, x: str, y: str) -> None:
    axes.set_ylim(bottom=0)
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.margins(x=0.01)
    axes.figure.legend(
        *axes.get_legend_handles_labels(), loc="outside upper right", ncols=2,
        handlelength=1.4, columnspacing=1.2,
    )  # fmt: skip


def load_words_reached(run: RunFiles) -> str:
    """How much of the load was reached, in a sentence; empty where it is not known."""
    found = load_series(run)
    if found is None:
        return ""
    _, asked, reached = found
    share = float(reached.sum() / asked.sum()) if asked.sum() else 0.0
    return (
        f"Asked for {asked.mean():,.0f} requests a minute on average, reached {reached.mean():,.0f} ({percent(share)}). "
        "What is asked leaves response times out."
    )
