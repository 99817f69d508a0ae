"""benchmark.md: what was compared, how it came out, and where the flagship loses. Every part only where it has data."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from mimir.files import read_json, write_text
from mimir.report.benchmark import figures, tables
from mimir.report.benchmark.figures import CHAMPION
from mimir.report.benchmark.goals import goals
from mimir.report.benchmark.ranks import detectors_of, mean_ranks
from mimir.report.benchmark.summary import chosen, false_alerts, over_seeds, recall_by
from mimir.report.benchmark.supervised import supervised
from mimir.units import format_duration

HEADLINE_RATES = (100_000.0, 10_000.0)
FLOOR = ("random",)


def write_page(folder: Path) -> Path:
    """Figures and benchmark.md beside results.parquet and facts.json; returns the page."""
    table, facts = pd.read_parquet(folder / "results.parquet"), read_json(folder / "facts.json")
    page = folder / "benchmark.md"
    shown = facts.get("supervised") or {}
    compared = table[~table["detector"].isin([*shown])]
    parts = [_head(table, facts), *goals(compared), *_parts(compared, folder), *supervised(table, folder, shown)]
    write_text(page, "\n\n".join(part.rstrip() for part in parts) + "\n")
    return page


def _head(table: pd.DataFrame, facts: dict[str, Any]) -> str:
    where = facts["environment"]
    commit = (where.get("git") or {}).get("commit") or "not recorded"
    dirty = " with uncommitted changes" if (where.get("git") or {}).get("dirty") else ""
    took = facts["seconds"]
    leaks = len(table[table["measure"] == "detected"].drop_duplicates(["experiment", "app", "exfiltration", "seed", "incident", "test_users", "mix_distance", "sigmas"]))  # fmt: skip
    days = false_alerts(table, ("detector",), int(table["window_s"].max()))["days"].max()
    text = f"""# Benchmark

```
{facts["command"]}
```

Commit {commit[:10]}{dirty}, Python {where["python"]}, {where["platform"]}, {where["cpus"]} cores; {format_duration(took["whole"])} in all, of which
{format_duration(took["recording"])} of recording and {format_duration(took["arithmetic"])} of detectors, added over processes.

{table["detector"].nunique()} detectors, {table["app"].nunique()} applications ({", ".join(sorted(table["app"].unique()))}), {table["seed"].nunique()} seeds
({", ".join(map(str, sorted(table["seed"].unique())))}), {leaks} leaks, {days:.1f} days of benign traffic judged. All on the simulated cluster. Thresholds are set on a benign recording
of its own at one false alert a day; nothing of the test recording is looked at before. Rules: [evaluation](../../concepts/evaluation.md). Brackets are 95 %
intervals: exact ones for counts, t intervals over seeds for means (three seeds at least)."""
    failures = facts.get("failures") or []
    return text + ("\n\nFailed: " + "; ".join(failures) if failures else "")


def _parts(table: pd.DataFrame, folder: Path) -> Iterator[str]:
    window_s = int(table["window_s"].max()) if 60 not in set(table["window_s"]) else 60
    order = detectors_of(table, window_s)
    main = table[table["experiment"].isin(_main(table))]
    if len(chosen(main, "detected")):
        yield (
            f"## Smallest rate that is seen\n\nEvent recall of at least 95 % from this rate on, windows of {window_s} s, one alert a day; `none`: not at any tested rate.\n\n"
            + tables.least(main, window_s, order)
        )
        yield from _recalls(main, folder, window_s, order)
        yield from _rank_part(main, folder, window_s)
    yield from _alarms(table, folder, window_s, order)
    yield from _factors(table, folder, window_s, order)
    if len(chosen(main, "detected")):
        yield _losses(main, table, window_s)


def _main(table: pd.DataFrame) -> set[str]:
    """Experiments that vary rates and paths; the others vary something else at one rate."""
    special = ("benchmark_load", "benchmark_mix", "benchmark_windows", "benchmark_adaptive", "benchmark_triggers")
    return set(table["experiment"]) - set(special)


def _recalls(table: pd.DataFrame, folder: Path, window_s: int, order: list[str]) -> Iterator[str]:
    kinds = [kind for kind in tables.CLASSES if len(chosen(table[table["path_class"] == kind], "detected"))]
    for kind in kinds:
        part = table[table["path_class"] == kind]
        text = f"## {tables.class_name(kind).capitalize()}: incidents found by rate\n\n{tables.recall(table, window_s, kind, order)}"
        shares = recall_by(part, ("app", "detector", "rate_bytes_per_min"), window_s)
        lines = pd.DataFrame(
            [[*key, share.value, *share.interval()] for key, share in shares.items()],
            columns=["app", "detector", "rate", "mean", "low", "high"],
        )
        name = f"recall_{kind}.png"
        labels = ("leak rate, B/min", f"share found ({window_s} s windows)")
        figures.curves(folder / name, lines, "app", "rate", labels, order, logarithmic=True)
        yield f"{text}\n\n![Incidents found by rate, {tables.class_name(kind)}]({name})"
        scores = over_seeds(chosen(part, "f1", window_s, 1.0), ["app", "detector", "rate_bytes_per_min"]).reset_index()
        if len(scores):
            figures.curves(folder / f"f1_{kind}.png", scores.rename(columns={"rate_bytes_per_min": "rate"}), "app", "rate",
                           ("leak rate, B/min", "F1 of windows at the threshold"), order, logarithmic=True)  # fmt: skip
            yield f"![F1 by rate, {tables.class_name(kind)}](f1_{kind}.png)"
        for at in HEADLINE_RATES:
            if at in set(part["rate_bytes_per_min"]):
                yield f"### {tables.class_name(kind).capitalize()} at {tables.rate(at)}\n\n{tables.headline(table, window_s, kind, at, order)}"


def _rank_part(table: pd.DataFrame, folder: Path, window_s: int) -> Iterator[str]:
    ranks = mean_ranks(table, window_s)
    if ranks is None:
        return
    figures.critical_difference(folder / "ranks.png", ranks)
    text = f"""## Ranks

Detectors ranked by average precision in {ranks.blocks} blocks (application, path, rate, seed); a bar joins those that Nemenyi's test does not tell apart
(Demšar 2006; Friedman's p = {ranks.friedman_p:.2g}). Blocks of one seed share benign recordings and are not fully independent.

![Mean ranks with the critical difference](ranks.png)"""
    if CHAMPION in ranks.mean:
        text += "\n\n" + tables.against(table, window_s, CHAMPION)
    yield text


def _alarms(table: pd.DataFrame, folder: Path, window_s: int, order: list[str]) -> Iterator[str]:
    usual = table[(table["triggers"] == "") & (table["test_users"] == table["users"]) & (table["mix_distance"] == 0)]
    if not len(usual):
        return
    text = f"## False alerts\n\nA day, at a budget of one a day, benign windows of {window_s} s outside incidents and the time after them.\n\n"
    text += tables.false_alarms(usual, window_s, order)
    rates = false_alerts_by_budget(usual, window_s)
    figures.calibration(folder / "calibration.png", rates, order)
    yield (
        text
        + "\n\n![False alerts raised against asked for](calibration.png)\n\nPoints at zero are not drawn (logarithmic axes); grey: within a factor of two."
    )
    triggers = table[table["triggers"] != ""]
    if len(chosen(triggers, "trigger_days")):
        yield (
            "## Benign triggers\n\nFalse alerts during a trigger and while it is recovered from, at a budget of one a day; `hours` is the time they had.\n\n"
            + tables.triggers(triggers, window_s, order)
        )


def false_alerts_by_budget(table: pd.DataFrame, window_s: int) -> pd.DataFrame:
    """Realised alerts a day by (detector, budget)."""
    parts = [
        false_alerts(table, ("detector",), window_s, budget).assign(budget=budget)
        for budget in sorted(table["budget"].dropna().unique())
    ]
    return pd.concat(parts).reset_index()


def _factors(table: pd.DataFrame, folder: Path, window_s: int, order: list[str]) -> Iterator[str]:
    """F1 over load, mix, and window length; event recall against an adaptive attacker."""
    for name, column, title, label in (
        ("benchmark_load", "load_ratio", "Another load than trained on", "users in the test / in training"),
        ("benchmark_mix", "mix_distance", "Another mix than trained on", "distance of the mixes of behaviours"),
        ("benchmark_windows", "window_s", "Window length", "window, s"),
        ("benchmark_adaptive", "sigmas", "An attacker who adapts", "stolen bytes a window, σ of the carrying edge"),
    ):
        part = table[table["experiment"] == name]
        part = part.assign(load_ratio=part["test_users"] / part["users"], mix_distance=part["mix_distance"].round(6))
        if name != "benchmark_windows":
            part = part[part["window_s"] == window_s]
        rows = over_seeds(chosen(part, "f1", None, 1.0), ["app", "detector", column]).reset_index()
        if not len(rows):
            continue
        image = f"{name.removeprefix('benchmark_')}.png"
        labels = (label, "F1 of windows at the threshold")
        figures.curves(folder / image, rows, "app", column, labels, order, name == "benchmark_windows")
        wide = rows.pivot_table(index="detector", columns=["app", column], values="mean")
        head = ["detector", *(f"{pair[0]} {pair[1]:.3g}" for pair in wide.columns.to_flat_index())]
        lines = [[d, *(f"{v:.2f}" for v in wide.loc[d])] for d in order if d in wide.index]
        yield f"## {title}\n\nF1 of windows; columns: {label}.\n\n{tables.markdown(head, lines)}\n\n![{title}]({image})"
        fpr = false_alerts(part, ("detector", column), window_s) if name != "benchmark_windows" else None
        if fpr is not None and name != "benchmark_adaptive":
            wide = fpr["per_day"].unstack()
            lines = [[d, *(f"{v:.3g}" for v in wide.loc[d])] for d in order if d in wide.index]
            yield "False alerts a day, same columns, all applications:\n\n" + tables.markdown(
                ["detector", *(f"{v:.3g}" for v in wide.columns)], lines
            )


def _losses(main: pd.DataFrame, table: pd.DataFrame, window_s: int) -> str:
    lost = tables.losses(main[~main["detector"].isin(FLOOR)], window_s, CHAMPION)
    loud = tables.over_budget(table[table["triggers"] == ""], window_s, CHAMPION)
    text = f"## Where {CHAMPION} loses\n\n"
    if loud:
        text += "More false alerts than the budget of one a day, and not by chance:\n\n" + _list(loud) + "\n\n"
    if lost:
        return text + "More incidents were found by others here:\n\n" + _list(lost)
    return text + "At no rate, path class and application did another detector find more incidents."


def _list(lines: list[str]) -> str:
    return "\n".join(f"* {line}" for line in lines)
