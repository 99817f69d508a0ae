"""Markdown tables of the benchmark page."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from mimir.report.benchmark.ranks import wilcoxon
from mimir.report.benchmark.summary import (
    Share,
    chosen,
    false_alerts,
    least_rates,
    over_seeds,
    recall_by,
    trigger_alerts,
)
from mimir.report.markdown import markdown
from mimir.report.words import percent, plain
from mimir.units import format_bytes, format_duration

CLASSES = {
    "allowed_chain": "allowed chain",
    "new_edge": "new edge",
    "dns": "DNS",
    "response_stuffing": "response stuffing",
}
NONE = "–"


def class_name(path_class: str) -> str:
    """A path class in words."""
    return CLASSES.get(path_class, path_class.replace("_", " "))


def rate(value: float) -> str:
    """A rate with its unit, or that no tested rate would do."""
    return f"{format_bytes(value)}/min" if np.isfinite(value) else "none"


def least(table: pd.DataFrame, window_s: int, order: Sequence[str]) -> str:
    """Minimum detectable rate by application and path class."""
    found = least_rates(table, window_s)
    head = ["detector", *(f"{app}, {class_name(kind)}" for app, kind in found.index)]
    rows = [[name, *(NONE if pd.isna(v) else rate(v) for v in found[name])] for name in order if name in found]
    return markdown(head, rows)


def recall(table: pd.DataFrame, window_s: int, path_class: str, order: Sequence[str]) -> str:
    """Event recall by rate, all applications together, with the number of incidents."""
    part = table[table["path_class"] == path_class]
    shares = recall_by(part, ("detector", "rate_bytes_per_min"), window_s)
    rates = sorted({key[1] for key in shares}, reverse=True)
    head = ["detector", *(rate(r) for r in rates)]
    rows = [
        [name, *(_share(shares.get((name, r))) for r in rates)]
        for name in order
        if any(key[0] == name for key in shares)
    ]
    return markdown(head, rows)


def _share(share: Share | None) -> str:
    if share is None:
        return NONE
    low, high = share.interval()
    return f"{share.hits}/{share.trials} [{low:.2f}, {high:.2f}]"


def headline(table: pd.DataFrame, window_s: int, path_class: str, at: float, order: Sequence[str]) -> str:
    """Delay, loss, ranking and localisation at one rate."""
    part = table[(table["path_class"] == path_class) & np.isclose(table["rate_bytes_per_min"], at)]
    shares = recall_by(part, ("detector",), window_s)
    head = [
        "detector",
        "detected",
        "delay, median",
        "lost, median",
        "average precision",
        "F1",
        "path right",
        "size off by",
        "interval holds",
    ]
    rows = []
    for name in order:
        mine = part[part["detector"] == name]
        if not len(mine):
            continue
        rows.append(
            [
                name,
                _share(shares.get((name,))),
                _middle(mine, "delay_s", window_s, format_duration),
                _middle(mine, "bytes_before_alert", window_s, format_bytes),
                _mean(mine, "average_precision", window_s, None),
                _mean(mine, "f1", window_s, 1.0),
                _path(mine, window_s),
                _middle(mine, "size_relative_error", window_s, percent),
                _mean(mine, "size_covered", window_s, 1.0),
            ]
        )
    return markdown(head, rows)


def _middle(rows: pd.DataFrame, measure: str, window_s: int, words: Callable[[float], str]) -> str:
    values = chosen(rows, measure, window_s, 1.0)["value"]
    return words(float(values.median())) if len(values) else NONE


def _mean(rows: pd.DataFrame, measure: str, window_s: int, budget: float | None) -> str:
    values = over_seeds(chosen(rows, measure, window_s, budget), ["detector"])
    if not len(values):
        return NONE
    return mean_with_interval(values.iloc[0])


def mean_with_interval(one: pd.Series) -> str:
    """A mean share with its interval over seeds, where there are enough."""
    low, high = max(0.0, float(one["low"])), min(1.0, float(one["high"]))  # of shares: beyond 0 and 1 is nothing
    interval = f" [{low:.2f}, {high:.2f}]" if np.isfinite(one["low"]) else ""
    return f"{one['mean']:.2f}{interval}"


def _path(rows: pd.DataFrame, window_s: int) -> str:
    if not chosen(rows, "path_named", window_s, 1.0)["value"].any():
        return NONE
    right = chosen(rows, "path_top1", window_s, 1.0)["value"]
    return f"{int(right.sum())}/{len(right)}"


def false_alarms(table: pd.DataFrame, window_s: int, order: Sequence[str]) -> str:
    """False alerts a day at a budget of one a day, by application."""
    found = false_alerts(table, ("detector", "app"), window_s)
    apps = sorted({key[1] for key in found.index})
    head = ["detector", *(f"{app} ({found.xs(app, level='app')['days'].max():.1f} days)" for app in apps)]
    rows = [[name, *(per_day(found, (name, app)) for app in apps)] for name in order if name in found.index]
    return markdown(head, rows)


def triggers(table: pd.DataFrame, window_s: int, order: Sequence[str]) -> str:
    """False alerts during benign triggers: count, and the time they had."""
    found = trigger_alerts(table, window_s)
    alerts, hours = found["alerts"].unstack(), found["days"].unstack().max(axis=1) * 24
    shown = [name for name in order if name in alerts]
    rows = [
        [
            trigger_name(str(kind)),
            f"{hours[kind]:.1f}",
            *(NONE if np.isnan(count) else f"{count:.0f}" for count in alerts.loc[kind, shown].to_numpy(dtype=float)),
        ]
        for kind in alerts.index
    ]
    return markdown(["trigger", "hours", *shown], rows)


def trigger_name(kind: str) -> str:
    """A kind of benign trigger in words."""
    return kind.split(":", 1)[-1].replace("_", " ")


def per_day(found: pd.DataFrame, key: tuple[Any, ...]) -> str:
    """A rate of false alerts with its interval."""
    if key not in found.index:
        return NONE
    middle, low, high = (plain(float(found[name][key])) for name in ("per_day", "low", "high"))
    return f"{middle} [{low}, {high}]"


def calibration(rates: pd.DataFrame, order: Sequence[str]) -> str:
    """False alerts a day raised, a column for each budget asked for. `rates` has detector, budget, per_day, low, high."""
    found = rates.set_index(["detector", "budget"])
    budgets = sorted(rates["budget"].unique())
    rows = [[name, *(per_day(found, (name, b)) for b in budgets)] for name in order if name in set(rates["detector"])]
    return markdown(["detector", *(f"{b:.3g} a day" for b in budgets)], rows)


def against(table: pd.DataFrame, window_s: int, champion: str) -> str:
    """`champion` against every other detector, paired by block."""
    found = wilcoxon(table, window_s, champion)
    head = [f"{champion} against", "better in", "worse in", "equal", "median difference", "p (Holm)"]
    rows = [
        [name, *(str(int(row[k])) for k in ("won", "lost", "tied")), f"{row['median']:+.3f}", f"{row['p_holm']:.2g}"]
        for name, row in found.iterrows()
    ]
    return markdown(head, [[str(cell) for cell in row] for row in rows])
