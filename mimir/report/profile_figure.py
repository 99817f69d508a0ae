"""Small multiples of load profiles: wanted users beside those a simulated population had."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mimir.report.figures import STYLE, Floats
from mimir.report.theme import LIGHT

_COLUMNS, _CELL = 2, (400, 150)  # charts beside each other, pixels of each


@dataclass(frozen=True)
class ProfileSeries:
    """One profile: time (days), users wanted and present at those times, what it is in a few words."""

    days: Floats
    wanted: Floats
    present: Floats
    words: str


def draw_profiles(profiles: Mapping[str, ProfileSeries]) -> str:
    """An SVG document with a chart for each profile, in the order given."""
    import matplotlib as mpl
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    rows = -(-len(profiles) // _COLUMNS)
    top = max(float(max(p.wanted.max(), p.present.max())) for p in profiles.values())
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(_COLUMNS * _CELL[0] / 72, rows * _CELL[1] / 72 + 0.3), layout="constrained")
        FigureCanvasSVG(figure)
        for number, (name, series) in enumerate(profiles.items()):
            axes = figure.add_subplot(rows, _COLUMNS, number + 1)
            _draw(axes, name, series, 1.05 * top)
        handles, labels = axes.get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper right", ncols=2)
        text = io.StringIO()
        figure.savefig(text, format="svg", metadata={"Date": None, "Creator": None})
    return text.getvalue()


def _draw(axes: Any, name: str, series: ProfileSeries, top: float) -> None:
    axes.plot(series.days, series.wanted, color=LIGHT["edge"], lw=5, alpha=0.6, label="users wanted")
    axes.plot(series.days, series.present, color=LIGHT["accent"], lw=1.2, label="users there (simulated)")
    axes.set_title(f"{name}: {series.words}", loc="left", fontsize=11, color=LIGHT["ink"])
    axes.set(ylim=(0, top), xlim=(0, float(series.days[-1])))
    axes.set_ylabel("users")
    if series.days[-1] > 1.5:
        axes.set_xlabel("days")
    else:
        axes.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0 h", "6 h", "12 h", "18 h", "24 h"])
