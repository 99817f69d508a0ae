"""Where the flagship loses: every comparison that it does not win, and every promise of its own that it breaks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

import numpy as np
import pandas as pd

from mimir.report.benchmark import tables
from mimir.report.benchmark.figures import CHAMPION
from mimir.report.benchmark.ranks import paired
from mimir.report.benchmark.summary import (
    RECALL_WANTED,
    Share,
    benign_part,
    chosen,
    false_alerts,
    over_seeds,
    recall_by,
    trigger_alerts,
    with_factors,
)
from mimir.report.markdown import markdown
from mimir.report.words import percent, plain
from mimir.units import format_duration

FLOOR = ("random",)
SHOWN = 4  #: rivals named in a row
CELL = ["app", "path_class", "at", "setting"]
NOMINAL = 0.95  #: what intervals of the size claim


def losses(table: pd.DataFrame, window_s: int) -> Iterator[str]:
    """The section. `table` is all of the benchmark without supervised detectors."""
    if CHAMPION not in set(table["detector"]):
        return
    table = with_setting(table[~table["detector"].isin(FLOOR)])
    yield f"## Where {CHAMPION} loses\n\nWindows of {window_s} s, one alert a day. Rivals are the other detectors but `random`; of many, the {SHOWN} best are named. Every row counts, whether chance explains it or not."
    silent = []
    for title, said, rows in (
        ("More false alerts than the budget, and not by chance", ["where", "a day [95 %]"], _over_budget(table, window_s)),
        (f"Leaks of which it finds less than {percent(RECALL_WANTED)}", ["where", "found"], _missed(table, window_s)),
        ("More incidents found by rivals", ["where", CHAMPION, "rivals"], _found_more(table, window_s)),
        ("Rivals that find as many, sooner", ["where", CHAMPION, "rivals (median delay, found)"], _sooner(table, window_s)),
        ("Fewer false alerts of rivals", ["where", CHAMPION, "rivals (false alerts)"], [*_quieter(table, window_s), *_calmer(table, window_s)]),
        ("Windows ranked better by rivals (mean average precision)", ["where", CHAMPION, "rivals"], _ranked_better(table, window_s)),
        (f"Intervals of the leak's size that hold less often than the {percent(NOMINAL)} they claim", ["where", "hold"], _broken_intervals(table, window_s)),
    ):  # fmt: skip
        found = list(rows)
        if found:
            yield f"### {title}\n\n{markdown(said, found)}"
        else:
            silent.append(title[0].lower() + title[1:])
    if silent:
        yield f"No row of these kinds: {'; '.join(silent)}."


def with_setting(table: pd.DataFrame) -> pd.DataFrame:
    """Plus `setting`, what an experiment changed besides path and rate, in words, and `at`, the rate where it was asked for."""
    table = with_factors(table)
    told = np.where(table["load_ratio"] != 1, table["load_ratio"].map("{:g} × the users".format), "")
    told = np.where(table["mix_distance"] > 0, table["mix_distance"].map("mix {:.3g} away".format), told)
    told = np.where(table["pacing"] == "adaptive", table["sigmas"].map("adaptive, {:g} σ".format), told)
    adaptive = table["pacing"] == "adaptive"  # its rates follow from the traffic and differ from seed to seed
    return table.assign(setting=told, at=table["rate_bytes_per_min"].mask(adaptive))


def _where(key: Any) -> str:
    """Of a value of CELL."""
    app, path_class, at, setting = key
    parts = [app, tables.class_name(path_class), *([tables.rate(at)] if np.isfinite(at) else []), setting]
    return ", ".join(part for part in parts if part)


def _named(names: Sequence[str], words: Mapping[str, str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(f"{name} {words[name]}" for name in names[:SHOWN]) + more


def _shares(table: pd.DataFrame, window_s: int) -> Iterator[tuple[str, pd.DataFrame, dict[str, Share]]]:
    """(where, its rows, detector → incidents found) of each application, path class, rate and setting that leaks."""
    leaking = table[(table["measure"].isin(["detected", "delay_s"])) & (table["window_s"] == window_s)]
    leaking = leaking[np.isclose(leaking["budget"], 1.0)]
    for key, part in leaking.groupby(CELL, sort=True, dropna=False):
        shares = {str(name): share for (name,), share in recall_by(part, ("detector",), window_s).items()}
        if CHAMPION in shares:
            yield _where(key), part, shares


def _over_budget(table: pd.DataFrame, window_s: int) -> Iterator[list[str]]:
    mine = table[table["detector"] == CHAMPION]
    found = false_alerts(benign_part(mine), ("app", "setting"), window_s)
    during = trigger_alerts(mine[mine["triggers"] != ""], window_s)
    during.index = during.index.map(lambda key: ("", tables.trigger_name(key[0])))
    for key, row in pd.concat([found, during]).iterrows():
        if row["low"] > 1:
            where = ", ".join(str(part) for part in cast(Any, key) if part)
            yield [where, f"{plain(row['per_day'])} [{plain(row['low'])}, {plain(row['high'])}]"]


def _missed(table: pd.DataFrame, window_s: int) -> Iterator[list[str]]:
    for where, _, shares in _shares(table, window_s):
        mine = shares[CHAMPION]
        if mine.value < RECALL_WANTED:
            yield [where, f"{mine.hits}/{mine.trials}"]


def _found_more(table: pd.DataFrame, window_s: int) -> Iterator[list[str]]:
    for where, _, shares in _shares(table, window_s):
        mine = shares[CHAMPION]
        better = sorted((n for n, s in shares.items() if s.value > mine.value), key=lambda n: (-shares[n].value, n))
        if better:
            found = {n: f"{s.hits}/{s.trials}" for n, s in shares.items()}
            yield [where, found[CHAMPION], _named(better, found)]


def _sooner(table: pd.DataFrame, window_s: int) -> Iterator[list[str]]:
    for where, part, shares in _shares(table, window_s):
        delays = part[part["measure"] == "delay_s"].groupby("detector")["value"].median()
        if CHAMPION not in delays:
            continue
        mine = float(delays[CHAMPION])
        as_many = [n for n in delays.index if shares[n].value >= shares[CHAMPION].value]
        sooner = sorted((n for n in as_many if delays[n] < mine), key=lambda n: (delays[n], n))
        if sooner:
            words = {
                n: f"{format_duration(float(delays[n]))} ({shares[n].hits}/{shares[n].trials})" for n in delays.index
            }
            yield [where, words[CHAMPION], _named(sooner, words)]


def _quieter(table: pd.DataFrame, window_s: int) -> Iterator[list[str]]:
    found = false_alerts(benign_part(table), ("app", "setting", "detector"), window_s)["per_day"]
    for (app, setting), part in found.groupby(["app", "setting"]):
        rates = part.droplevel(["app", "setting"])
        fewer = _lower(rates)
        if fewer:
            where = ", ".join(word for word in (str(app), str(setting)) if word)
            yield [
                where,
                f"{plain(rates[CHAMPION])} a day",
                _named(fewer, {n: plain(float(rates[n])) for n in fewer}),
            ]


def _calmer(table: pd.DataFrame, window_s: int) -> Iterator[list[str]]:
    """The same while something benign but unusual happens."""
    counts = trigger_alerts(table[table["triggers"] != ""], window_s)["alerts"]
    for kind, part in counts.groupby("path_class"):
        alerts = part.droplevel("path_class")
        fewer = _lower(alerts)
        if fewer:
            yield [f"during {tables.trigger_name(str(kind))}", f"{alerts[CHAMPION]:.0f}", _named(fewer, {n: f"{alerts[n]:.0f}" for n in fewer})]  # fmt: skip


def _lower(values: pd.Series) -> list[str]:
    """Names with less than the flagship, least first."""
    if CHAMPION not in values:
        return []
    return sorted((str(n) for n in values.index if values[n] < values[CHAMPION]), key=lambda n: (values[n], n))


def _ranked_better(table: pd.DataFrame, window_s: int) -> Iterator[list[str]]:
    for key, part in table.groupby(CELL, sort=True, dropna=False):
        if not len(chosen(part, "average_precision", window_s)):
            continue
        means = paired(part, window_s).mean()
        if CHAMPION not in means or np.isnan(means[CHAMPION]):
            continue
        better = sorted(
            (str(n) for n in means.index if means[n] > means[CHAMPION] + 5e-4), key=lambda n: (-means[n], n)
        )
        if better:
            yield [_where(key), f"{means[CHAMPION]:.3f}", _named(better, {n: f"{means[n]:.3f}" for n in better})]


def _broken_intervals(table: pd.DataFrame, window_s: int) -> Iterator[list[str]]:
    rows = chosen(table[table["detector"] == CHAMPION], "size_covered", window_s, 1.0)
    for key, part in rows.groupby(CELL, sort=True, dropna=False):
        one = over_seeds(part, ["detector"]).iloc[0]
        if one["mean"] < NOMINAL:
            low, high = max(0.0, float(one["low"])), min(1.0, float(one["high"]))
            yield [
                _where(key),
                f"{one['mean']:.2f}" + (f" [{low:.2f}, {high:.2f}]" if np.isfinite(one["low"]) else ""),
            ]
