"""Figures of a fidelity run as PNG: ratios edge by edge, packet sizes, how much varies and stays unexplained, detections."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from mimir.report.fidelity_compare import EDGE, MODEL, OFF, REAL, RESIDUAL, TOLERANCE
from mimir.report.fidelity_detectors import incidents
from mimir.report.fidelity_tables import SHORT, edge_name
from mimir.report.png import png_figure
from mimir.report.theme import LIGHT
from mimir.units import format_bytes

PANELS = ("request_bytes", "response_bytes", "packets", "exchanges")
BUSIEST = 6
MOST = 3.4  #: largest ratio drawn


def ratios(path: Path, compared: pd.DataFrame, app: str) -> None:
    """Simulated to real of every edge, one panel a measure, with intervals; the band is ±20 %."""
    part = compared[(compared["app"] == app) & compared["measure"].isin(PANELS) & np.isfinite(compared["ratio"]) & (compared["ratio"] > 0)]  # fmt: skip
    edges = part.drop_duplicates(EDGE).sort_values(EDGE, ascending=False)
    place = {tuple(row[c] for c in EDGE): n for n, (_, row) in enumerate(edges.iterrows())}
    with png_figure(path, (1, len(PANELS)), (13, 1.6 + 0.23 * len(place)), sharey=True) as axes:
        for axis, name in zip(axes, PANELS, strict=True):
            axis.axvspan(1 - TOLERANCE, 1 + TOLERANCE, color=LIGHT["goodsoft"], lw=0)
            axis.axvline(1, color=LIGHT["muted"], lw=1)
            for _, row in part[part["measure"] == name].iterrows():
                y, colour = (
                    place[tuple(row[c] for c in EDGE)],
                    LIGHT["leak"] if row["verdict"] == OFF else LIGHT["accent"],
                )
                axis.plot([row["low"], min(row["high"], MOST)], [y, y], color=colour, lw=1.4)
                axis.plot(row["ratio"], y, "o", color=colour, ms=4)
            axis.set_xscale("log")
            axis.set_xlim(0.3, MOST)
            axis.set_xticks([0.5, 1, 2], ["0.5", "1", "2"])
            axis.minorticks_off()
            axis.set_title(SHORT[name] + (" an exchange" if name != "exchanges" else " a user request"), fontsize=11)
        axes[0].set_yticks(range(len(place)), [edge_name(row) for _, row in edges.iterrows()], fontsize=9)
        axes[0].set_ylim(-0.8, len(place) - 0.2)
        axes[0].figure.supxlabel(f"{app}: simulated / real", fontsize=11)


def sizes(path: Path, table: pd.DataFrame, app: str) -> None:
    """Distribution functions of packet sizes on the busiest edges, both ways together."""
    part = table[table["app"] == app]
    asked = part[~part["client"].str.startswith("node:") & (part["proto"] == "tcp")]  # probes are all alike
    totals = asked.groupby(EDGE)["count"].sum().sort_values(ascending=False).index[:BUSIEST]
    with png_figure(path, (2, 3), (12, 6.4), sharey=True) as axes:
        for axis, edge in zip(axes, totals, strict=False):
            mine = part[(part[EDGE] == list(edge)).all(axis=1)]
            for cluster, colour, dashes in ((REAL, LIGHT["accent"], "-"), (MODEL, LIGHT["leak"], (0, (4, 2)))):
                counts = mine[mine["cluster"] == cluster].groupby("size")["count"].sum().sort_index()
                axis.step(counts.index, counts.cumsum() / counts.sum(), where="post", color=colour, ls=dashes, lw=1.6, label=cluster)  # fmt: skip
            axis.set_xscale("log")
            axis.set_xlim(40, 7000)
            axis.set_xticks([50, 200, 1000, 5000], ["50", "200", "1000", "5000"])
            axis.minorticks_off()
            axis.set_title(edge_name(mine.iloc[0]), fontsize=10)
            axis.set_xlabel("IP bytes of a packet", fontsize=9)
        axes[0].set_ylabel("share of packets")
        axes[0].legend(loc="upper left")
        axes[0].figure.suptitle(app, fontsize=11)


def scatter(path: Path, compared: pd.DataFrame) -> None:
    """Variation over windows and what I3 leaves unexplained: simulated against real, one point an edge."""
    apps = list(dict.fromkeys(compared["app"]))
    colours = dict(zip(apps, (LIGHT["accent"], LIGHT["leak"], LIGHT["third"], LIGHT["second"]), strict=False))
    with png_figure(path, (1, 2), (10, 4.8)) as axes:
        for axis, name in zip(axes, ("variation", RESIDUAL), strict=True):
            part = compared[(compared["measure"] == name) & (compared["real"] > 0) & (compared["simulated"] > 0)]
            ends = np.array(
                [part[["real", "simulated"]].min().min() * 0.7, part[["real", "simulated"]].max().max() * 1.4]
            )
            axis.fill_between(ends, ends * (1 - TOLERANCE), ends * (1 + TOLERANCE), color=LIGHT["goodsoft"], lw=0)
            axis.plot(ends, ends, color=LIGHT["muted"], lw=1)
            for app, rows in part.groupby("app", sort=False):
                axis.plot(rows["real"], rows["simulated"], "o", ms=5, alpha=0.8, color=colours[app], label=app)
            axis.set_xscale("log")
            axis.set_yscale("log")
            axis.set_title({"variation": "variation of bytes over windows", RESIDUAL: "unexplained by I3, share of the mean"}[name], fontsize=11)  # fmt: skip
            axis.set_xlabel(REAL)
            axis.set_ylabel(MODEL)
        axes[0].legend()


def detections(path: Path, verdicts: pd.DataFrame, window_s: int, detectors: Sequence[str]) -> None:
    """Delay until the first alert by rate, one panel an application, real recordings; not found: on the top line."""
    part = verdicts[(verdicts["cluster"] == REAL) & (verdicts["window_s"] == window_s)]
    apps = list(dict.fromkeys(part["app"]))
    delays = part.loc[part["measure"] == "delay_s", "value"]
    top = max(600.0, float(delays.max()) * 1.3 if len(delays) else 600.0)
    marks, colours = "osD^vP", ("leak", "accent", "third", "second", "warn", "muted")
    with png_figure(path, (1, len(apps)), (1.5 + 3.6 * len(apps), 4.2), sharey=True) as axes:
        for axis, app in zip(axes, apps, strict=True):
            for number, detector in enumerate(detectors):
                of = incidents(part[(part["app"] == app) & (part["detector"] == detector)])
                spread = 1.06 ** (number - (len(detectors) - 1) / 2)
                for rate, found in of:
                    seen = bool(found.get("detected"))
                    axis.plot(rate * spread, max(found["delay_s"], 1.0) if seen else top, marks[number % len(marks)], ms=7 if number == 0 else 5,
                              color=LIGHT[colours[number % len(colours)]], fillstyle="full" if seen else "none", label=detector)  # fmt: skip
            axis.axhline(top, color=LIGHT["line"], lw=1)
            axis.set_xscale("log")
            rates = sorted({rate for rate, _ in of})
            axis.set_xticks(rates, [f"{format_bytes(rate)}/min" for rate in rates])
            axis.minorticks_off()
            axis.set_title(app, fontsize=11)
        axes[0].set_ylim(0, top * 1.05)
        axes[0].set_ylabel(f"s until the first alert ({window_s} s windows); top: never")
        handles = dict(zip(*reversed(axes[0].get_legend_handles_labels()), strict=True))
        axes[0].figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=6, fontsize=9)
