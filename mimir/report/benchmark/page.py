"""benchmark.md: what was compared, how it came out, and where the flagship loses. Every part only where it has data."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from mimir.files import read_json, write_text
from mimir.report.benchmark import figures, tables
from mimir.report.benchmark.factors import SPECIAL, factors
from mimir.report.benchmark.figures import CHAMPION
from mimir.report.benchmark.goals import goals
from mimir.report.benchmark.losses import losses
from mimir.report.benchmark.ranks import detectors_of, mean_ranks
from mimir.report.benchmark.summary import BENIGN, benign_part, chosen, false_alerts, over_seeds, recall_by
from mimir.report.benchmark.supervised import supervised
from mimir.report.markdown import markdown
from mimir.units import format_duration

HEADLINE_RATES = (100_000.0, 10_000.0)
#: what tells test recordings apart
TEST = ["experiment", "app", "exfiltration", "seed", "test_users", "mix_distance", "sigmas", "triggers"]


def write_page(folder: Path) -> Path:
    """Figures and benchmark.md beside results.parquet and facts.json; returns the page."""
    table, facts = pd.read_parquet(folder / "results.parquet"), read_json(folder / "facts.json")
    page = folder / "benchmark.md"
    shown = facts.get("supervised") or {}
    compared = table[~table["detector"].isin([*shown])]
    parts = [_head(table, facts)]
    if len(compared):
        parts += [*goals(compared), *_parts(compared, folder)]
    parts += supervised(table, folder, shown)
    write_text(page, "\n\n".join(part.rstrip() for part in parts) + "\n")
    return page


def _head(table: pd.DataFrame, facts: dict[str, Any]) -> str:
    where = facts["environment"]
    commit = (where.get("git") or {}).get("commit") or "not recorded"
    dirty = " with uncommitted changes" if (where.get("git") or {}).get("dirty") else ""
    took = facts["seconds"]
    text = f"""# Benchmark

```
{facts["command"]}
```

Commit {commit[:10]}{dirty}, Python {where["python"]}, {where["platform"]}, {where["cpus"]} cores; {format_duration(took["whole"])} in all, of which
{format_duration(took["recording"])} of recording and {format_duration(took["arithmetic"])} of detectors, added over processes.

{table["detector"].nunique()} detectors, all on the simulated cluster. Thresholds are set on a benign recording of its own at one false alert a day; nothing of the test recording is looked at before.
Rules: [evaluation](../../concepts/evaluation.md). Brackets are 95 % intervals: exact ones for counts, t intervals over seeds for means (three seeds at least).

{_experiments(table)}"""
    failures = facts.get("failures") or []
    return text + ("\n\nFailed: " + "; ".join(failures) if failures else "")


def _experiments(table: pd.DataFrame) -> str:
    """What was recorded for each experiment."""
    rows = []
    for name, part in table.groupby("experiment", sort=False):
        one = part[part["detector"] == part["detector"].iloc[0]]
        leaks = chosen(one, "detected").drop_duplicates([*TEST, "incident"])
        lengths = sorted(int(length) for length in part["window_s"].unique())
        rows.append([str(name).removeprefix("benchmark_"), ", ".join(sorted(part["app"].unique())), _listed(part["seed"]),
                     str(len(one.drop_duplicates(TEST))), str(len(leaks)), ", ".join(map(str, lengths))])  # fmt: skip
    return markdown(["experiment", "applications", "seeds", "test recordings", "leaks", "windows, s"], rows)


def _listed(seeds: pd.Series) -> str:
    """Seeds in words.

    >>> _listed(pd.Series([3, 1, 2, 2])), _listed(pd.Series([1, 3]))
    ('1 to 3', '1, 3')
    """
    known = sorted({int(seed) for seed in seeds})
    if len(known) > 2 and known == list(range(known[0], known[-1] + 1)):
        return f"{known[0]} to {known[-1]}"
    return ", ".join(map(str, known))


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
    yield from factors(table, folder, window_s, order)
    yield from losses(table, window_s)


def _main(table: pd.DataFrame) -> set[str]:
    """Experiments that vary rates and paths; the others vary something else at one rate."""
    return set(table["experiment"]) - set(SPECIAL)


def _recalls(table: pd.DataFrame, folder: Path, window_s: int, order: list[str]) -> Iterator[str]:
    kinds = [kind for kind in tables.CLASSES if len(chosen(table[table["path_class"] == kind], "detected"))]
    for kind in kinds:
        part = table[table["path_class"] == kind]
        text = f"## {_title(kind)}: incidents found by rate\n\n{tables.recall(table, window_s, kind, order)}"
        shares = recall_by(part, ("app", "detector", "rate_bytes_per_min"), window_s)
        lines = pd.DataFrame(
            [[*key, share.value, *share.interval()] for key, share in shares.items()],
            columns=["app", "detector", "rate", "mean", "low", "high"],
        )
        name = f"recall_{kind}.png"
        labels = ("leak rate, B/min", f"share found ({window_s} s windows)")
        figures.curves(folder / name, [(labels[1], lines)], "app", "rate", labels[0], order, logarithmic=True)
        yield f"{text}\n\n![Incidents found by rate, {tables.class_name(kind)}]({name})"
        scores = over_seeds(chosen(part, "f1", window_s, 1.0), ["app", "detector", "rate_bytes_per_min"]).reset_index()
        if len(scores):
            f1 = [("F1 of windows at the threshold", scores.rename(columns={"rate_bytes_per_min": "rate"}))]
            figures.curves(folder / f"f1_{kind}.png", f1, "app", "rate", labels[0], order, logarithmic=True)
            yield f"![F1 by rate, {tables.class_name(kind)}](f1_{kind}.png)"
        for at in HEADLINE_RATES:
            if at in set(part["rate_bytes_per_min"]):
                yield f"### {_title(kind)} at {tables.rate(at)}\n\n{tables.headline(table, window_s, kind, at, order)}"


def _title(kind: str) -> str:
    """A path class at the beginning of a heading: DNS stays as it is."""
    name = tables.class_name(kind)
    return name[:1].upper() + name[1:]


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
    every = benign_part(table)
    usual = every[(every["load_ratio"] == 1) & (every["mix_distance"] == 0)]
    if not len(usual):
        return
    yield (
        f"## False alerts\n\nA day, at a budget of one a day, benign windows of {window_s} s{_benign_from(usual)}.\n\n"
        + tables.false_alarms(usual, window_s, order)
    )
    rates = false_alerts_by_budget(usual, window_s)
    figures.calibration(folder / "calibration.png", rates, order)
    yield f"""### Asked for and raised

False alerts a day, all applications, by the alerts a day that the threshold was set for.

{tables.calibration(rates, order)}

![False alerts raised against asked for](calibration.png)

Points at zero are not drawn (logarithmic axes); grey: within a factor of two; bars: 95 % intervals of {CHAMPION}."""
    triggers = table[table["triggers"] != ""]
    if len(chosen(triggers, "trigger_days")):
        yield (
            "## Benign triggers\n\nFalse alerts during a trigger and while it is recovered from, at a budget of one a day; `hours` is the time they had; "
            f"seeds: {_listed(triggers['seed'])}.\n\n" + tables.triggers(triggers, window_s, order)
        )


def _benign_from(usual: pd.DataFrame) -> str:
    """Where the benign windows come from."""
    if set(usual["experiment"]) == {BENIGN}:
        return f" of recordings in which nothing leaks (`{BENIGN}`, seeds {_listed(usual['seed'])})"
    return " outside incidents and the time after them; recordings of one seed share their users' walks, which makes intervals too narrow"


def false_alerts_by_budget(table: pd.DataFrame, window_s: int) -> pd.DataFrame:
    """Realised alerts a day by (detector, budget)."""
    parts = [
        false_alerts(table, ("detector",), window_s, budget).assign(budget=budget)
        for budget in sorted(table["budget"].dropna().unique())
    ]
    return pd.concat(parts).reset_index()
