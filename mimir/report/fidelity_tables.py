"""Markdown tables of a fidelity run."""

from __future__ import annotations

import numpy as np
import pandas as pd

from mimir.report.fidelity_compare import ABSENT, CHANCE, EDGE, MEASURES, MODEL, NAMES, OFF, REAL, RESIDUAL, WITHIN
from mimir.report.fidelity_reasons import UNKNOWN, Seen, reason_of
from mimir.report.markdown import markdown

SHAPES = ("request sizes", "response sizes")
SHORT = {
    "request_bytes": "request B", "response_bytes": "response B", "packets": "packets", "exchanges": "exchanges",
    "connections": "connections", "variation": "variation", RESIDUAL: "I3 residual",
}  # fmt: skip
WORDS = {m.name: m.words for m in MEASURES} | {RESIDUAL: "I3 residual, share of the mean"}
VERDICTS = (WITHIN, CHANCE, OFF, ABSENT)


def number(value: float) -> str:
    """Three significant digits, no exponent.

    >>> number(12345.6), number(0.01234), number(float("nan")), number(float("inf"))
    ('12,346', '0.0123', '–', '∞')
    """
    if value == np.inf:
        return "∞"
    if not np.isfinite(value):
        return "–"
    if value == 0:
        return "0"
    digits = max(0, 2 - int(np.floor(np.log10(abs(value)))))
    return f"{value:,.{digits}f}"


def edge_name(row: pd.Series) -> str:
    """client → server:port."""
    client = "users" if row["client"] == "outside:clients" else row["client"]
    return f"{client} → {row['server']}:{row['server_port']}"


def summary(compared: pd.DataFrame, sizes: pd.DataFrame) -> str:
    """How many edges have which verdict, by measure and application."""
    ways = sizes.assign(measure=sizes["way"] + " sizes")
    both = pd.concat([compared[["app", "measure", "verdict"]], ways[["app", "measure", "verdict"]]])
    counts = both.groupby(["measure", "app", "verdict"]).size()
    apps = list(dict.fromkeys(compared["app"]))
    rows = []
    for name in (*NAMES, *SHAPES):
        cells = [[int(counts.get((name, app, v), 0)) for v in VERDICTS] for app in apps]
        rows.append([SHORT.get(name, name), *(" / ".join(map(str, cell)) for cell in cells)])
    return markdown(["edges within / by chance / off / absent", *apps], rows)


def edges(compared: pd.DataFrame, app: str) -> str:
    """One row an edge, one column a measure: real and simulated; ✗ is off, ~ off by chance."""
    part = compared[compared["app"] == app]
    rows = []
    for _, cells in part.groupby(EDGE, sort=True):
        first = cells.iloc[0]
        of = {row["measure"]: row for _, row in cells.iterrows()}
        counts = f"{number(first[f'exchanges_{REAL}'])} · {number(first[f'exchanges_{MODEL}'])}"
        rows.append([edge_name(first), counts, *(_cell(of[name]) if name in of else "" for name in NAMES)])
    return markdown(["edge", "exchanges (n)", *(SHORT[name] for name in NAMES)], rows)


def _cell(row: pd.Series) -> str:
    mark = {CHANCE: " ~", OFF: " ✗", ABSENT: " ✗"}.get(str(row["verdict"]), "")
    return f"{number(row['real'])} · {number(row['simulated'])}{mark}"


def off(compared: pd.DataFrame, sizes: pd.DataFrame, app: str) -> str:
    """Every edge and measure that is off and not by chance, with its interval and the cause; how many have none."""
    part = compared[(compared["app"] == app) & compared["verdict"].isin([OFF, ABSENT])]
    rows = [_off(row) for _, row in part.iterrows()]
    rows += [_shape_off(row) for _, row in sizes[(sizes["app"] == app) & (sizes["verdict"] == OFF)].iterrows()]
    if not rows:
        return "None."
    unknown = [f"{row[0]} ({row[1]})" for row in rows if row[-1] == UNKNOWN]
    told = f"Not explained, {len(unknown)} of {len(rows)}: {'; '.join(unknown)}." if unknown else ""
    return "\n\n".join(
        [markdown(["edge", "measure", "real · simulated", "simulated / real", "why"], rows), *([told] if told else [])]
    )


def _off(row: pd.Series) -> list[str]:
    real, simulated = float(row["real"]), float(row["simulated"])
    exchanges = min(float(row[f"exchanges_{cluster}"]) for cluster in (REAL, MODEL))
    seen = Seen(row["app"], row["client"], row["server"], row["measure"], real, simulated, exchanges)
    interval = f"{number(row['ratio'])} [{number(row['low'])} to {number(row['high'])}]"
    values = f"{number(real)} · {number(simulated)}"
    return [edge_name(row), WORDS[seen.measure], values, interval if row["verdict"] == OFF else ABSENT, reason_of(seen)]


def _shape_off(row: pd.Series) -> list[str]:
    real, simulated = float(row["mean_real"]), float(row["mean_simulated"])
    seen = Seen(row["app"], row["client"], row["server"], f"{row['way']} sizes", real, simulated)
    values = f"mean {number(real)} · {number(simulated)}"
    return [edge_name(row), f"{seen.measure}, B", values, f"{number(row['wasserstein'])} B apart", reason_of(seen)]


def by_chance(compared: pd.DataFrame, app: str) -> str:
    """What is off by more than 20 % within an interval that holds 1, in words."""
    part = compared[(compared["app"] == app) & (compared["verdict"] == CHANCE)]
    names = [f"{edge_name(row)} {SHORT[row['measure']]} ({number(row['ratio'])})" for _, row in part.iterrows()]
    return ", ".join(names) or "none"


def shapes(sizes: pd.DataFrame, lengths: pd.DataFrame, app: str) -> str:
    """Packet sizes and connection lengths of one application."""
    rows = []
    of_length = {tuple(row[c] for c in EDGE): row for _, row in lengths[lengths["app"] == app].iterrows()}
    for edge, cells in sizes[sizes["app"] == app].groupby(EDGE, sort=True):
        ways = {row["way"]: row for _, row in cells.iterrows()}
        row = [edge_name(cells.iloc[0])]
        for way in ("request", "response"):
            found = ways.get(way)
            row += ["–", "–"] if found is None else [
                f"{number(found['jensen_shannon'])}",
                f"{number(found['wasserstein'])} ({number(found['between_recordings'])}) of {number(found['mean_real'])}" + (" ✗" if found["verdict"] == OFF else ""),
            ]  # fmt: skip
        length = of_length.get(tuple(edge))
        row += ["–"] * 3 if length is None else [
            f"{number(length['connections_real'])} · {number(length['connections_simulated'])}",
            f"{_seconds(length['median_real_s'])} · {_seconds(length['median_simulated_s'])}", number(length["kolmogorov"]),
        ]  # fmt: skip
        rows.append(row)
    head = ["edge", "request JS, bit", "request W, B", "response JS, bit", "response W, B", "connections begun", "median length", "KS"]  # fmt: skip
    return markdown(head, rows)


def _seconds(value: float) -> str:
    if not np.isfinite(value):
        return "–"
    return f"{number(value * 1000)} ms" if value < 1 else f"{number(value)} s"
