"""What happens when load, mix, window length or the attacker change: F1, incidents found and false alerts, with intervals."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mimir.report.benchmark import figures, tables
from mimir.report.benchmark.summary import Share, chosen, false_alerts, over_seeds, recall_by, with_factors
from mimir.report.markdown import markdown
from mimir.units import format_bytes


@dataclass(frozen=True)
class Factor:
    """An experiment that changes one thing: its column, heading, and the label of its values."""

    experiment: str
    column: str
    title: str
    label: str
    figure: str
    logarithmic: bool = False


FACTORS = (
    Factor("benchmark_load", "load_ratio", "Another load than trained on", "users in the test / in training", "load.png"),
    Factor("benchmark_mix", "mix_distance", "Another mix than trained on", "distance of the mixes of behaviours", "mix.png"),
    Factor("benchmark_windows", "window_s", "Window length", "window, s", "windows.png", True),
    Factor("benchmark_adaptive", "sigmas", "An attacker who adapts", "stolen bytes a window, σ of the carrying edge", "adaptive.png", True),
)  # fmt: skip
SPECIAL = (*(factor.experiment for factor in FACTORS), "benchmark_triggers")


def factors(table: pd.DataFrame, folder: Path, window_s: int, order: Sequence[str]) -> Iterator[str]:
    """One section an experiment that the table holds."""
    for factor in FACTORS:
        part = with_factors(table[table["experiment"] == factor.experiment])
        if factor.column != "window_s":
            part = part[part["window_s"] == window_s]
        part = part.assign(panel=_panels(part, factor))
        if len(chosen(part, "f1", None, 1.0)):
            yield from _section(part, factor, folder, order)


def _panels(part: pd.DataFrame, factor: Factor) -> pd.Series:
    """One panel an application, and a rate where there are several that do not follow from the factor."""
    rates = part["rate_bytes_per_min"].dropna()
    if factor.column == "sigmas" or rates.nunique() < 2:
        return part["app"]
    return part["app"] + part["rate_bytes_per_min"].map(lambda at: f", {tables.rate(at)}" if np.isfinite(at) else "")


def _section(part: pd.DataFrame, factor: Factor, folder: Path, order: Sequence[str]) -> Iterator[str]:
    keys = ["panel", "detector", factor.column]
    scores = over_seeds(chosen(part, "f1", None, 1.0), keys)
    shares = recall_by(part, keys, None)
    found = pd.DataFrame(
        [[*key, share.value, *share.interval()] for key, share in shares.items()],
        columns=[*keys, "mean", "low", "high"],
    )
    rows = (("F1 of windows at the threshold", scores.reset_index()), ("share of incidents found", found))
    figures.curves(folder / factor.figure, rows, "panel", factor.column, factor.label, order, factor.logarithmic)
    text = f"## {factor.title}\n\nF1 of windows, and incidents found of all; columns: {factor.label}; seeds: {_seeds(part)}.{_rates_of(part, factor)}"
    yield f"{text}\n\n![{factor.title}]({factor.figure})"
    for panel in sorted(part.loc[part["measure"] == "f1", "panel"].unique()):
        values = sorted({key[2] for key in scores.index if key[0] == panel})
        lines = []
        for name in order:
            cells = [_cell(scores, shares, (panel, name, value)) for value in values]
            if any(cell != tables.NONE for cell in cells):
                lines.append([name, *cells])
        yield markdown([f"{panel}", *(f"{value:.3g}" for value in values)], lines)
    yield from _alarms(part, factor, order)


def _cell(scores: pd.DataFrame, shares: dict[tuple[Any, ...], Share], key: Any) -> str:
    if key not in scores.index:
        return tables.NONE
    one, share = scores.loc[key], shares.get(key)
    found = f" · {share.hits}/{share.trials}" if share is not None else ""
    return tables.mean_with_interval(one) + found


def _alarms(part: pd.DataFrame, factor: Factor, order: Sequence[str]) -> Iterator[str]:
    """False alerts a day over the factor; an adaptive attacker changes nothing about them."""
    if factor.column == "sigmas":
        return
    found = false_alerts(part, ("detector", factor.column), None)
    values = sorted({key[1] for key in found.index})
    lines = [[n, *(tables.per_day(found, (n, v)) for v in values)] for n in order if n in found.index]
    yield "False alerts a day, same columns, all applications:\n\n" + markdown(
        ["detector", *(f"{value:.3g}" for value in values)], lines
    )


def _seeds(part: pd.DataFrame) -> str:
    return ", ".join(map(str, sorted(part["seed"].unique())))


def _rates_of(part: pd.DataFrame, factor: Factor) -> str:
    """What an adaptive attacker steals, which follows from the traffic."""
    if factor.column != "sigmas":
        return ""
    rates = chosen(part, "detected", None, 1.0).groupby("sigmas")["rate_bytes_per_min"].median()
    return " Stolen, median: " + ", ".join(f"{s:g} σ {format_bytes(float(r))}/min" for s, r in rates.items()) + "."
