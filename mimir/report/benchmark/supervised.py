"""Detectors that were shown labelled leaks: a part of the benchmark page of their own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from mimir.report.benchmark import figures, tables
from mimir.report.benchmark.factors import SPECIAL
from mimir.report.benchmark.summary import benign_part, chosen, recall_by
from mimir.report.markdown import markdown


def supervised(table: pd.DataFrame, folder: Path, shown: Mapping[str, Sequence[Mapping[str, Any]]]) -> Iterator[str]:
    """What they were shown, what they find of leaks on other paths and at other rates, and what they raise on benign traffic."""
    mine = table[table["detector"].isin([*shown]) & ~table["experiment"].isin(SPECIAL)]
    if not len(mine):
        return
    window_s = 60 if 60 in set(mine["window_s"]) else int(mine["window_s"].max())
    order = sorted(mine["detector"].unique())
    yield (
        "## Supervised\n\nShown labelled leaks on other paths and at other rates than those they are tested on, so not to be compared with the tables "
        "above. Their thresholds come from benign traffic alone, too.\n\n" + _lessons(shown)
    )
    for kind in (k for k in tables.CLASSES if len(chosen(mine[mine["path_class"] == k], "detected"))):
        found = tables.recall(mine, window_s, kind, order)
        yield f"### Supervised, {tables.class_name(kind)}: incidents found by rate\n\n{found}"
        rates = sorted(
            {
                key[1]
                for key in recall_by(mine[mine["path_class"] == kind], ("detector", "rate_bytes_per_min"), window_s)
            }
        )
        for at in [r for r in (100_000.0, 10_000.0) if r in rates]:
            yield f"At {tables.rate(at)}:\n\n{tables.headline(mine, window_s, kind, at, order)}"
    leaking = chosen(mine, "detected", window_s, 1.0)
    if len(leaking):
        shares = recall_by(mine, ("path_class", "app", "detector", "rate_bytes_per_min"), window_s)
        lines = pd.DataFrame(
            [
                [key[1], f"{key[2]}, {tables.class_name(key[0])}", key[3], share.value, *share.interval()]
                for key, share in shares.items()
            ],
            columns=["app", "detector", "rate", "mean", "low", "high"],
        )
        rows = [(f"share found ({window_s} s windows)", lines)]
        names = sorted(lines["detector"].unique())
        figures.curves(
            folder / "recall_supervised.png", rows, "app", "rate", "leak rate, B/min", names, logarithmic=True
        )
        yield "![Incidents found by supervised detectors, by rate](recall_supervised.png)"
    usual = benign_part(mine)
    if len(usual):
        yield f"False alerts a day at a budget of one a day:\n\n{tables.false_alarms(usual, window_s, order)}"


def _lessons(shown: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    rows = [
        [
            name,
            str(one["app"]),
            " → ".join(one["path"]),
            ", ".join(tables.rate(r) for r in one["rates_bytes_per_min"]),
            str(one["channel"]),
        ]
        for name, lessons in sorted(shown.items())
        for one in lessons
    ]
    return markdown(["detector", "application", "shown leaks over", "at", "channel"], rows)
