"""What the flagship was to reach, and whether it did: every verdict is computed from the table; point estimates decide."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from mimir.report.benchmark.figures import CHAMPION
from mimir.report.benchmark.summary import chosen, false_alerts, over_seeds, recall_by, trigger_alerts
from mimir.report.markdown import markdown
from mimir.report.words import percent
from mimir.units import DAY_S, format_bytes

WINDOW_S = 60
WEEKLY = 1 / 7
CHAIN_APPS = ("sockshop", "hipsterstore")
NOT_MEASURED = "not measured"


@dataclass(frozen=True)
class Found:
    """What the table says of one goal: in words, and whether it is enough."""

    words: str
    met: bool


Check = Callable[[pd.DataFrame], Found | None]


def goals(table: pd.DataFrame) -> Iterator[str]:
    """The section, where the table holds the flagship."""
    mine = table[(table["detector"] == CHAMPION) & (table["window_s"] == WINDOW_S)]
    if not len(mine):
        return
    rows = []
    for wanted, check in GOALS:
        found = check(mine)
        words, verdict = (found.words, "met" if found.met else "**missed**") if found else (NOT_MEASURED, NOT_MEASURED)
        rows.append([wanted, words, verdict])
    yield (
        f"## Goals of {CHAMPION}\n\nWindows of {WINDOW_S} s, one false alert a day unless said otherwise. `{NOT_MEASURED}`: this table has no such runs. "
        "Speed stands in [another table](../detector-cost.md).\n\n" + markdown(["wanted", "found", "verdict"], rows)
    )


def _chain(table: pd.DataFrame, least: float, most: float = np.inf, apps: Sequence[str] = CHAIN_APPS) -> pd.DataFrame:
    """Leaks over allowed chains that the usual load and mix carry."""
    usual = (table["test_users"] == table["users"]) & (table["mix_distance"] == 0) & (table["pacing"] != "adaptive")
    rates = table["rate_bytes_per_min"].between(least * 0.99, most * 1.01)
    return table[usual & rates & (table["path_class"] == "allowed_chain") & table["app"].isin(apps)]


def _recall(table: pd.DataFrame, wanted: float, budget: float = 1.0) -> Found | None:
    shares = recall_by(table, ("app",), WINDOW_S, budget)
    if not shares:
        return None
    words = ", ".join(f"{app} {share.hits}/{share.trials}" for (app,), share in shares.items())
    return Found(words, min(share.value for share in shares.values()) >= wanted)


def _each(values: pd.Series, enough: Callable[[float], bool], words: Callable[[float], str]) -> Found | None:
    """A number an application (or setting): all must be enough."""
    if not len(values):
        return None
    told = ", ".join(f"{key} {words(float(value))}" for key, value in values.items())
    return Found(told, all(enough(float(value)) for value in values))


def _middle(table: pd.DataFrame, measure: str, wanted: float, words: Callable[[float], str]) -> Found | None:
    rows = chosen(table, measure, WINDOW_S, 1.0)
    return _each(rows.groupby("app")["value"].median(), lambda v: v <= wanted, words)


def _mean(table: pd.DataFrame, measure: str, wanted: float, words: Callable[[float], str]) -> Found | None:
    return _each(over_seeds(chosen(table, measure, WINDOW_S, 1.0), ["app"])["mean"], lambda v: v >= wanted, words)


def _quiet(table: pd.DataFrame) -> Found | None:
    """False alerts a day in the recordings with the leaks of the first goal."""
    usual = table[
        (table["experiment"] == "benchmark_rates")
        & (table["exfiltration"] == "relay_chain")
        & table["app"].isin(CHAIN_APPS)
    ]
    return _each(false_alerts(usual, ("app",), WINDOW_S)["per_day"], lambda v: v <= 1, _number)


def _dns_hour(table: pd.DataFrame) -> Found | None:
    """Tunnels of at least half a byte a second, each seen within an hour."""
    dns = table[(table["path_class"] == "dns") & (table["rate_bytes_per_min"] >= 29)]
    found = _recall(dns, 1.0)
    delays = chosen(dns, "delay_s", WINDOW_S, 1.0)["value"]
    if found is None:
        return None
    late = int((delays > 3600).sum())
    return Found(f"{found.words}; {late} of them later than an hour", found.met and not late)


def _dns_loss(table: pd.DataFrame) -> Found | None:
    """What DNS tunnels carried before they were seen, at one alert a week."""
    dns = table[table["path_class"] == "dns"]
    seen = chosen(dns, "detected", WINDOW_S, WEEKLY)["value"]
    if not len(seen):
        return None
    lost = chosen(dns, "bytes_before_alert", WINDOW_S, WEEKLY)["value"]
    most = f"{format_bytes(float(lost.max()))} at most before the alert" if len(lost) else "none was seen"
    unseen = int(len(seen) - seen.sum())
    return Found(
        f"{most}; {unseen} of {len(seen)} tunnels unseen", not unseen and len(lost) > 0 and float(lost.max()) <= 4000
    )


def _drop(experiment: str, column: str, usual: float) -> Check:
    """Largest fall of F1 at 100 kB/min from the usual setting, over applications."""

    def check(table: pd.DataFrame) -> Found | None:
        part = _factor(table, experiment)
        means = over_seeds(chosen(part, "f1", WINDOW_S, 1.0), ["app", column])["mean"].unstack()
        if not len(means) or usual not in means or means.shape[1] < 2:
            return None
        falls = means.rsub(means[usual], axis=0)
        worst = falls.stack().groupby("app").agg(["idxmax", "max"])
        told = ", ".join(f"{app} {row['max']:+.2f} (at {row['idxmax'][1]:.3g})" for app, row in worst.iterrows())
        return Found(f"largest fall: {told}", float(worst["max"].max()) <= 0.05)

    return check


def _rate_over(experiment: str, column: str) -> Check:
    """Largest false-positive rate over the settings of an experiment."""

    def check(table: pd.DataFrame) -> Found | None:
        part = _factor(table, experiment)
        found = false_alerts(part, ("app", column), WINDOW_S)["per_day"] * WINDOW_S / DAY_S
        if not len(found):
            return None
        worst = found.groupby("app").max()
        return _each(worst, lambda v: v <= 2e-3, lambda v: f"{v:.2g}")

    return check


def _factor(table: pd.DataFrame, experiment: str) -> pd.DataFrame:
    part = table[table["experiment"] == experiment]
    return part.assign(load_ratio=part["test_users"] / part["users"], mix_distance=part["mix_distance"].round(6))


def _changes(table: pd.DataFrame) -> Found | None:
    """False-positive rate during scale-out and rolling updates, recovery included."""
    found = trigger_alerts(table, WINDOW_S)["per_day"] * WINDOW_S / DAY_S
    if not len(found):
        return None
    by_kind = found.groupby("path_class").max()
    wanted = by_kind[[kind for kind in ("benign:scale_out", "benign:rolling_update") if kind in by_kind.index]]
    return _each(wanted.rename(lambda kind: str(kind).split(":")[-1]), lambda v: v <= 2e-3, lambda v: f"{v:.2g}")


def _budget(table: pd.DataFrame) -> Found | None:
    benign = table[table["experiment"] == "benchmark_benign"]
    return _each(false_alerts(benign, ("app",), WINDOW_S)["per_day"], lambda v: 0.5 <= v <= 2, _number)


def _number(value: float) -> str:
    return f"{value:.2g}"


#: what is wanted, and how the table is asked
GOALS: tuple[tuple[str, Check], ...] = (
    (
        "allowed chain in Sock Shop and Hipster Store, 10 kB/min: event recall ≥ 0.95",
        lambda t: _recall(_chain(t, 1e4, 1e4), 0.95),
    ),
    ("… at ≤ 1 false alert a day", _quiet),
    (
        "… median ≤ 150 kB leaked before the alert",
        lambda t: _middle(_chain(t, 1e4, 1e4), "bytes_before_alert", 150e3, format_bytes),
    ),
    (
        "allowed chain, ≥ 100 kB/min: F1 at the fixed threshold ≥ 0.95",
        lambda t: _mean(_chain(t, 1e5), "f1", 0.95, lambda v: f"{v:.3f}"),
    ),
    ("DNS, ≥ 0.5 B/s: found within an hour", _dns_hour),
    ("DNS: ≤ 4 kB leaked before the alert, one alert a week", _dns_loss),
    ("loads 0.4 to 1.6 of training, 100 kB/min: F1 falls by ≤ 0.05", _drop("benchmark_load", "load_ratio", 1.0)),
    ("… false-positive rate ≤ 2e-3", _rate_over("benchmark_load", "load_ratio")),
    ("nine mixes of behaviours, 100 kB/min: F1 falls by ≤ 0.05", _drop("benchmark_mix", "mix_distance", 0.0)),
    ("… false-positive rate ≤ 2e-3", _rate_over("benchmark_mix", "mix_distance")),
    ("scale-out and rolling update: false-positive rate ≤ 2e-3", _changes),
    ("≥ 20 kB/min: right path named first in ≥ 90 %", lambda t: _mean(_chain(t, 2e4), "path_top1", 0.9, percent)),
    (
        "≥ 20 kB/min: size off by ≤ 20 % (median)",
        lambda t: _middle(_chain(t, 2e4), "size_relative_error", 0.2, percent),
    ),
    (
        "≥ 20 kB/min: 95 % intervals of the size hold in ≥ 95 %",
        lambda t: _mean(_chain(t, 2e4), "size_covered", 0.95, percent),
    ),
    ("benign days never seen: alerts within a factor of 2 of the budget", _budget),
)
