"""Benign triggers of a run: bands in the timeline, with letters that a legend beside the chart explains."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mimir.report.load import RunFiles
from mimir.report.theme import LIGHT
from mimir.units import format_duration

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BENIGN = "benign:"
_LETTERS = "abcdefghijklmnopqrstuvwxyz"
_NARROW_SHARE = 0.004  # of the chart: a shorter trigger gets a line as well, or nobody would see it


def trigger_events(run: RunFiles) -> list[dict[str, Any]]:
    """Benign triggers of the test recording in time order, from the ledger, each with the `letter` of its kind."""
    rows = [r for r in run.truth if r["recording"] == "test" and str(r["path_class"]).startswith(BENIGN)]
    kinds = dict.fromkeys(r["path_class"] for r in sorted(rows, key=lambda r: r["start"]))
    letters = {kind: _LETTERS[n % len(_LETTERS)] for n, kind in enumerate(kinds)}
    return [
        {**row, "letter": letters[row["path_class"]], "kind": kind_words(row["path_class"])}
        for row in sorted(rows, key=lambda r: r["start"])
    ]


def kind_words(path_class: str) -> str:
    """`benign:pod_kill` in words.

    >>> kind_words("benign:pod_kill")
    'pod kill'
    """
    return path_class.removeprefix(BENIGN).replace("_", " ")


def trigger_legend(run: RunFiles) -> list[dict[str, str]]:
    """Letter, kind and how often, with the recovery time that belongs to it."""
    events, found = trigger_events(run), []
    for letter, kind in dict.fromkeys((e["letter"], e["kind"]) for e in events):
        lasting = [float(e["end"]) - float(e["start"]) for e in events if e["letter"] == letter]
        often = f"{len(lasting)} ×, " if len(lasting) > 1 else ""
        found.append(
            {"letter": letter, "kind": kind, "lasting": f"{often}{format_duration(sum(lasting) / len(lasting))}"}
        )
    return found


def draw_bands(axes: Axes, run: RunFiles, origin: float, unit: float, span: float) -> None:
    """Shade every trigger from its start to its end; `span` is the width of the chart in the axis' unit."""
    for i, event in enumerate(trigger_events(run)):
        begin, end = (event["start"] - origin) / unit, (event["end"] - origin) / unit
        label = "benign trigger" if i == 0 else None
        axes.axvspan(begin, end, facecolor=LIGHT["warnsoft"], edgecolor=LIGHT["warn"], lw=0, label=label, zorder=0.5)
        if end - begin < _NARROW_SHARE * span:
            axes.axvline(begin, color=LIGHT["warn"], lw=0.8, zorder=0.6)
        axes.annotate(
            event["letter"], ((begin + end) / 2, 1), xycoords=("data", "axes fraction"), xytext=(0, 1),
            textcoords="offset points", ha="center", va="bottom", fontsize=10, color=LIGHT["warn"],
        )  # fmt: skip


def trigger_recovery(run: RunFiles) -> str:
    """How long after a trigger false alerts are counted as its aftermath, in words."""
    return format_duration(float((run.spec.get("evaluation") or {}).get("trigger_recovery_s") or 0))
