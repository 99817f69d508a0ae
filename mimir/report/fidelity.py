"""Pages of a fidelity run: fidelity.md (edge by edge) and netns.md (detectors on real traffic), with figures and edges.csv."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd

from mimir.files import atomic, read_json, write_text
from mimir.report import fidelity_detectors as judged
from mimir.report import fidelity_figures as figures
from mimir.report import fidelity_tables as tables
from mimir.report.fidelity_compare import LEAST_EXCHANGES, MODEL, REAL, compare
from mimir.report.fidelity_shapes import lengths_apart, sizes_apart
from mimir.units import format_bytes


def write_pages(folder: Path) -> list[Path]:
    """Read the tables of a run in `folder`; write edges.csv and figures there and both pages beside it; returns the pages."""
    facts = read_json(folder / "facts.json")
    read = {name: pd.read_parquet(folder / f"{name}.parquet") for name in ("blocks", "sizes", "lengths", "residuals", "verdicts")}  # fmt: skip
    compared = compare(read["blocks"], read["residuals"])
    apart, lengths = sizes_apart(read["sizes"]), lengths_apart(read["lengths"])
    with atomic(folder / "edges.csv") as temporary:
        compared.to_csv(temporary, index=False, float_format="%.5g")
    detectors = list(dict.fromkeys(read["verdicts"]["detector"]))
    _draw(folder, compared, read, detectors)
    fidelity, real = folder.parent / "fidelity.md", folder.parent / "netns.md"
    write_text(fidelity, _fidelity(facts, compared, apart, lengths, read["verdicts"], detectors, folder.name))
    write_text(real, _real(facts, read["verdicts"], detectors, folder.name))
    return [fidelity, real]


def _draw(folder: Path, compared: pd.DataFrame, read: dict[str, pd.DataFrame], detectors: list[str]) -> None:
    for app in dict.fromkeys(compared["app"]):
        figures.ratios(folder / f"ratios-{app}.png", compared, app)
        figures.sizes(folder / f"sizes-{app}.png", read["sizes"], app)
    figures.scatter(folder / "variation.png", compared)
    for window_s in sorted(read["verdicts"]["window_s"].unique()):
        figures.detections(folder / f"detections-{window_s}s.png", read["verdicts"], int(window_s), detectors)


def _head(facts: dict[str, Any]) -> str:
    """Command, commit, machine, and what was asked for."""
    where, spec = facts["environment"], facts["spec"]
    git = where.get("git") or {}
    commit = (git.get("commit") or "not recorded")[:10] + (" with uncommitted changes" if git.get("dirty") else "")
    leak, load, note = spec["exfiltration"], spec["load"], f" {facts['note']}" if facts.get("note") else ""
    rates = ", ".join(
        f"{format_bytes(rate)}/min" for rate in leak["rates_bytes_per_min"] or [leak["rate_bytes_per_min"]]
    )
    real = [one for one in facts["recordings"] if one["cluster"] == REAL]
    day = datetime.fromtimestamp(min(one["start_s"] for one in real), UTC)
    return f"""```
{facts["command"]}
```

Commit {commit}, {day:%Y-%m-%d}, Python {where["python"]}, {where["platform"]}, {where["cpus"]} cores.{note} {load["users"]} users (`load={load["name"]}`), seed {spec["seed"]}; of each application and
cluster four recordings: fit and calibrate (benign), test ({leak["incidents"]} incidents of {leak["incident_duration_s"]} s{_exceptions(spec)}, `exfiltration={leak["name"]}` at {rates}), and quiet, the test
again without a leak. The real ones were made side by side on one machine, each in a testbed of its own, which the command does by itself."""


def _exceptions(spec: dict[str, Any]) -> str:
    """Applications whose incidents are shorter or longer than those of the spec that is described."""
    usual = spec["exfiltration"]["incident_duration_s"]
    other = {app: s for app, s in (spec.get("incident_s") or {}).items() if s != usual}
    return "".join(f", {app} {seconds} s" for app, seconds in other.items())


def _fidelity(
    facts: dict[str, Any],
    compared: pd.DataFrame,
    apart: pd.DataFrame,
    lengths: pd.DataFrame,
    verdicts: pd.DataFrame,
    detectors: list[str],
    folder: str,
) -> str:
    parts = [
        "# How near the simulated cluster comes to a real one",
        _head(facts),
        f"""Compared are the benign recordings (fit, calibrate, quiet) of `{REAL}`, where sockets, TCP, DNS and capture are real, and `{MODEL}`; both are driven by the same
application model, so what is tested here is the rendering: connections, packets, acknowledgements, timing, and what of it survives in windows. The sizes of
messages themselves were calibrated elsewhere ([applications](applications.md)).

Each cell is real · simulated. Intervals (95 %) come from a block bootstrap in which both clusters are drawn independently. **Within** 20 %: no mark; **~** further off, but the
interval holds 1; **✗** off. What scatters (variation, residual) has 1 % of the mean added in quadrature: below that nothing could be told apart. Edges with fewer than {LEAST_EXCHANGES} exchanges on both sides are left out, with fewer on one side only the count is compared. All numbers:
[edges.csv]({folder}/edges.csv).""",
        tables.summary(compared, apart),
        f"![Variation and residuals, simulated against real]({folder}/variation.png)",
    ]
    for app in dict.fromkeys(compared["app"]):
        parts += [
            f"## {app}",
            tables.edges(compared, app),
            f"![Ratios of {app}, edge by edge]({folder}/ratios-{app}.png)",
            "### Off by more than 20 %, and not by chance",
            tables.off(compared, apart, app),
            f"Off by chance: {tables.by_chance(compared, app)}.",
            f"""### Packet sizes and connections of {app}

JS: Jensen–Shannon divergence, 0 … 1 bit; W: Wasserstein distance in IP bytes of a packet, in parentheses the largest one between two real recordings, then the mean size;
KS: Kolmogorov distance of connection lengths.""",
            tables.shapes(apart, lengths, app),
            f"![Packet sizes of {app}]({folder}/sizes-{app}.png)",
        ]
    parts += [
        "## Detectors on both",
        _both(verdicts, detectors),
        "## What was recorded",
        judged.recordings(facts, REAL),
    ]
    return "\n\n".join(part.rstrip() for part in parts) + "\n"


def _both(verdicts: pd.DataFrame, detectors: list[str]) -> str:
    leaks = (
        verdicts[(verdicts["recording"] == "test") & (verdicts["incident"] != "")].groupby("app")["incident"].nunique()
    )
    count = " to ".join(map(str, sorted({int(leaks.min()), int(leaks.max())}))) if len(leaks) else "No"
    lines = [f"Incidents a recording: {count}; one alert a day is allowed; false alerts are those of the benign windows of test and quiet together. With so few incidents a difference of one says nothing."]  # fmt: skip
    for window_s in sorted(verdicts["window_s"].unique(), reverse=True):
        lines += [f"Windows of {window_s} s:", judged.side_by_side(verdicts, int(window_s), detectors)]
    return "\n\n".join(lines)


def _real(facts: dict[str, Any], verdicts: pd.DataFrame, detectors: list[str], folder: str) -> str:
    spec = facts["spec"]
    real = [one for one in facts["recordings"] if one["cluster"] == REAL]
    benign_h = {app: sum(o["duration_s"] for o in real if o["app"] == app and o["recording"] != "test") / 3600 for app in dict.fromkeys(verdicts["app"])}  # fmt: skip
    parts = [
        "# Real traffic: what detectors find",
        _head(facts),
        f"""Everything here crossed real sockets: calls, look-ups, probes, and the leak, whose bytes were counted and hashed where they arrived. Benign traffic: {", ".join(f"{h:.2f} h of {a}" for a, h in benign_h.items())} beside
the test. Thresholds come from `calibrate` at one false alert a day, before the test is looked at; a calibration this short extrapolates that level. `found`: an alert while data
leaked; then seconds from the first stolen byte to it, and the bytes gone by then. False alerts are counted in the benign windows of test and quiet; quiet repeats the walks of
the test's users, so these hours are not quite independent. With so few incidents a rate the table shows what happened, not a probability.""",
    ]
    for window_s in sorted(verdicts["window_s"].unique(), reverse=True):
        parts.append(f"## Windows of {window_s} s")
        for app in dict.fromkeys(verdicts["app"]):
            parts += [f"### {app}: {' → '.join(spec['paths'][app])}", judged.real_table(verdicts, app, int(window_s), detectors)]  # fmt: skip
        parts.append(f"![Delay by rate, windows of {window_s} s]({folder}/detections-{window_s}s.png)")
    parts += [
        "## What was recorded",
        judged.recordings(facts, REAL),
        "How near the simulated cluster comes to this: [fidelity](fidelity.md).",
    ]
    return "\n\n".join(part.rstrip() for part in parts) + "\n"
