"""Tables of the report: key numbers, incidents, window lengths, threshold, capture, what is not known."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mimir.report.load import RunFiles
from mimir.report.words import LABELS, SHORT_LABELS, Shown, benign_windows, false_alerts, percent, plain, shown
from mimir.units import format_bytes, format_duration, utc

CARDS = ("event_recall", "delay_median_s", "bytes_before_alert_median", "false_alerts_per_day")
COMPARED = (*CARDS, "average_precision", "f1", "path_top1")
OUTSIDE = "outside:"


def cards(run: RunFiles) -> list[Shown]:
    """The four numbers that matter most."""
    overall = run.window()["overall"]
    return [shown(name, overall.get(name), _basis(run, name)) for name in CARDS]


def numbers(run: RunFiles) -> list[Shown]:
    """All measures of the primary window length, the known ones in the order of LABELS."""
    overall = run.window()["overall"]
    names = [*(name for name in LABELS if name in overall), *(name for name in sorted(overall) if name not in LABELS)]
    return [shown(name, overall[name], _basis(run, name)) for name in names]


def _basis(run: RunFiles, name: str) -> str:
    """What a measure rests on."""
    test = run.window()["test"]
    judged = [row for row in run.incidents() if row["detected"] is not None]
    found = sum(bool(row["detected"]) for row in judged)
    if name in ("event_recall", "undetected_share"):
        return f"{found if name == 'event_recall' else len(judged) - found} of {_count(len(judged), 'incident')}"
    if name.startswith(("delay_", "bytes_", "path_")):
        return _count(found, "detected incident")
    if test["prevalence"] is None:
        return _count(test["windows"], "window")
    positive = test["positive_windows"]
    if name.startswith("false_"):
        return f"{_count(len(false_alerts(run)), 'false alert')} in {benign_windows(run):,} benign windows"
    if name == "recall":
        return _count(positive, "window with a leak", "windows with a leak")
    if name.startswith("size_"):
        return "alerts with an estimate"
    return f"prevalence {percent(test['prevalence'])} ({positive:,} of {test['windows']:,} windows)"


def _count(number: int, one: str, many: str = "") -> str:
    return f"{number:,} {one if number == 1 else many or one + 's'}"


@dataclass(frozen=True)
class IncidentRow:
    """One incident as the table shows it."""

    name: str
    path_class: str
    technique: str
    path: list[str]
    start: str
    duration: str
    delivered: str
    state: str  #: found, missed or void (nothing to detect)
    note: str
    delay: str
    lost: str
    lost_share: float  #: of what was delivered, 0 … 1; 1 when missed
    named: str


def incident_rows(run: RunFiles) -> list[IncidentRow]:
    """Incidents at the primary window length, in time order."""
    return [_incident(row) for row in run.incidents()]


def _incident(row: Mapping[str, Any]) -> IncidentRow:
    delivered, lost = row["bytes_delivered"], row["bytes_before_alert"]
    state = "void" if row["detected"] is None else "found" if row["detected"] else "missed"
    if state == "missed":
        lost = delivered
    return IncidentRow(
        name=str(row["incident"]),
        path_class=str(row["path_class"]).replace("_", " "),
        technique=row.get("technique") or "–",
        path=[short(name) for name in row["path"]],
        start=utc(row["start"]),
        duration=format_duration(row["end"] - row["start"]),
        delivered=format_bytes(delivered),
        state=state,
        note=row.get("reason") or "",
        delay=format_duration(row["delay_s"]) if row["delay_s"] is not None else "–",
        lost=format_bytes(lost) if lost is not None else "–",
        lost_share=min(1.0, lost / delivered) if lost is not None and delivered else 0.0,
        named=_named(row),
    )


def _named(row: Mapping[str, Any]) -> str:
    if row.get("path_correct") is None:
        return "no path named" if row["detected"] else "–"
    return "yes" if row["path_correct"] else f"no: {' → '.join(short(name) for name in row['path_named'])}"


def short(name: str) -> str:
    """A node name without the `outside:` mark."""
    return name.removeprefix(OUTSIDE)


def window_table(run: RunFiles) -> tuple[list[str], list[dict[str, Any]]]:
    """Headings, and for each window length its measures: the comparison of window lengths."""
    rows = []
    for window_s in sorted(run.lengths):
        block = run.window(window_s)
        cells = [shown(name, block["overall"].get(name)) for name in COMPARED]
        primary = window_s == run.primary_s
        rows.append(
            {"length": f"{window_s} s", "primary": primary, "windows": f"{block['test']['windows']:,}", "cells": cells}
        )
    return [SHORT_LABELS[name] for name in COMPARED], rows


def class_table(run: RunFiles) -> list[dict[str, Any]]:
    """Headline measures for each path class at the primary window length."""
    names = ("event_recall", "delay_median_s", "delay_p90_s", "bytes_before_alert_median", "path_top1")
    blocks = run.window()["by_class"]
    return [
        {
            "name": kind.replace("_", " "),
            "incidents": block["incidents"],
            "cells": [shown(n, block.get(n)) for n in names],
        }
        for kind, block in sorted(blocks.items())
    ]


def trigger_table(run: RunFiles) -> list[dict[str, Any]]:
    """False alerts while something benign but unusual went on and in the time after it; last: without any trigger."""
    found = dict(sorted((run.window().get("triggers") or {}).items()))
    rows = [_trigger_row(kind.replace("_", " "), block, block.get("after")) for kind, block in found.items()]
    quiet = run.window().get("undisturbed")
    return [*rows, _trigger_row("no trigger", quiet, None)] if rows and quiet else rows


def _trigger_row(kind: str, during: dict[str, Any], after: dict[str, Any] | None) -> dict[str, Any]:
    def words(block: dict[str, Any] | None) -> str:
        if not block or not block["windows"]:
            return "–"
        hourly = block.get("false_alerts_per_hour")
        return f"{block['false_alerts']} of {block['windows']:,}" + (f", {hourly:.3g} an hour" if hourly else "")

    return {"kind": kind, "during": words(during), "after": words(after)}


def threshold_facts(run: RunFiles) -> list[tuple[str, str]]:
    """How the threshold was set, as pairs of term and description."""
    block, budget = run.window()["threshold"], run.metrics["alerts_per_day"]
    calibration_s = block["calibration_windows"] * run.primary_s
    method = {"conformal": "conformal p-value", "tail": "generalised Pareto tail"}.get(block["method"], block["method"])
    facts = [
        ("Alert budget", f"{plain(budget)} a day"),
        ("Level asked for", f"{block['level']:.2g} of {run.primary_s} s windows"),
        ("Threshold", plain(block["value"]) if block["value"] is not None else "none"),
        ("Method", str(method or "not recorded")),
        ("Calibrated on", f"{block['calibration_windows']:,} benign windows ({format_duration(calibration_s)})"),
    ]
    if block["extrapolated"] is not None:
        facts.append(("Extrapolated", "yes: rarer than calibration can show" if block["extrapolated"] else "no"))
    measure = run.window()["overall"].get("false_alerts_per_day") or {}
    if measure.get("value") is not None:
        benign = format_duration(benign_windows(run) * run.primary_s)
        facts.append(("Realised in the test", f"{plain(measure['value'])} false alerts a day (from {benign})"))
    if block.get("note"):
        facts.append(("Note", str(block["note"])))
    return facts


def blind_notes(run: RunFiles) -> list[tuple[str, list[str]]]:
    """What this run cannot say: reason → the measures that are null because of it, all window lengths together."""
    why: dict[str, list[str]] = defaultdict(list)
    for window_s in run.lengths:
        for name, measure in run.window(window_s)["overall"].items():
            if measure["value"] is None:
                label = LABELS.get(name, name)
                entry = label if window_s == run.primary_s else f"{label} ({window_s} s)"
                if label not in why[str(measure["reason"])]:
                    why[str(measure["reason"])].append(entry)
    for row in run.incidents():
        if row["detected"] is None:
            why[str(row.get("reason"))].append(f"incident {row['incident']}")
    return sorted(why.items())


def cautions(run: RunFiles) -> list[str]:
    """What a careful reader must know before trusting the numbers."""
    notes = []
    block = run.window()["threshold"]
    if block["extrapolated"]:
        notes.append(
            "The threshold lies beyond the calibration scores: the false-alert rate is extrapolated, not observed."
        )
    if 0 < len(run.incidents()) < 10:
        notes.append(f"{_count(len(run.incidents()), 'incident')}: shares of incidents have wide intervals.")
    wanted = 3 / block["level"] if block["level"] else 0
    if benign_windows(run) < wanted:
        need = format_duration(wanted * run.primary_s)
        held = format_duration(benign_windows(run) * run.primary_s)
        notes.append(
            f"To confirm the budget with 95 % confidence takes about {need} of benign traffic (rule of three); "
            f"the test holds {held}."
        )
    for name, counts in sorted((n, c) for n, c in run.capture.items() if isinstance(c, dict)):
        if counts.get("dropped"):
            notes.append(f"The recorder dropped {counts['dropped']:,} packets of the {name} recording.")
        if counts.get("damaged"):
            notes.append(
                f"The capture of the {name} recording is damaged: {'; '.join(map(str, counts['damaged'][:3]))}."
            )
    if earlier := run.status.get("earlier_thresholds"):
        notes.append(
            f"This test recording had been scored under {_count(earlier, 'other threshold')} before, "
            "so this one was not fixed in advance."
        )
    learned = run.detector_state.get("state") or {}
    families = {name: part.get("note") for name, part in learned.items() if isinstance(part, dict)}
    return notes + [f"{name} is switched off: {note}" for name, note in families.items() if note]


def interval_word(run: RunFiles) -> str:
    """Heading of the interval column."""
    return f"{percent(run.metrics['confidence'])} interval"
