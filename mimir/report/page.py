"""report.html: one self-contained page, and the figures as files of their own."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from mimir.files import sha256, write_text
from mimir.report import tables
from mimir.report.alerts import alert_table
from mimir.report.bands import trigger_legend, trigger_recovery
from mimir.report.blind_spots import blind_spot_table
from mimir.report.capture_table import capture_table
from mimir.report.command import reproduce_command
from mimir.report.figures import describe_timeline, draw_charts
from mimir.report.graph import Drawing, draw_graph
from mimir.report.graph_content import graph_content, resolve_paths
from mimir.report.load import RunFiles, load_run
from mimir.report.load_figures import draw_load_charts, load_words_reached
from mimir.report.stream import draw_stream_charts, stream_block
from mimir.report.theme import css_variables, inline
from mimir.report.words import load_words, percent, verdict
from mimir.units import format_bytes, utc

#: files the page does not list: they are made by the page, or after it
NOT_LISTED = ("report.html", "manifest.json", "status.json", "run.log")
HASH_LIMIT_BYTES = 64_000_000  #: larger files have their digest in manifest.json only
CHART_WORDS = {
    "threshold": "Share of benign windows at or above a score, for calibration and test, with the threshold",
    "stream": "Score of the one stream of alerts over time, with its threshold, its alerts and the incidents",
    "roc": "ROC curve for each window length",
    "load": "Requests a minute over the test recording: asked for by the load profile, and reached",
    "pacing": "Delivered bytes a minute of each incident since it began",
    "precision_recall": "Precision against recall for each window length, with the prevalence",
}


def write_page(run_directory: Path) -> None:
    """Write figures/*.svg and report.html. Raises MimirError when the run has no metrics."""
    run = load_run(run_directory)
    charts = {**draw_charts(run), **draw_load_charts(run), **draw_stream_charts(run)}
    graph = _graph(run)
    for name, svg in {**charts, **({"graph": graph.svg} if graph else {})}.items():
        write_text(run.folder / "figures" / f"{name}.svg", svg)
    write_text(run.folder / "report.html", render(run, charts, graph))


def _graph(run: RunFiles) -> Drawing | None:
    if run.graph is None:
        return None
    app = run.spec.get("app") or {}
    services = app.get("services") or {}
    stores = (
        [name for name, service in services.items() if service.get("kind") == "store"]
        if isinstance(services, dict)
        else []
    )
    return draw_graph(graph_content(run.graph, _paths(run), app.get("sensitive") or [], stores))


def _paths(run: RunFiles) -> list[list[str]]:
    return resolve_paths(
        run.graph, [row["path"] for row in run.incidents() if row["path"] and row["bytes_delivered"] > 0]
    )


def render(run: RunFiles, charts: dict[str, str], graph: Drawing | None) -> str:
    """The page as text."""
    environment = Environment(
        loader=PackageLoader("mimir.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=False,
        lstrip_blocks=True,
    )
    environment.filters["unbroken"] = _unbroken
    css = (Path(__file__).parent / "templates" / "report.css").read_text(encoding="utf-8")
    shown = {name: Markup(inline(svg, name, _words(run, name))) for name, svg in charts.items()}  # noqa: S704 - own SVG
    return environment.get_template("report.html.j2").render(
        run=run, verdict=verdict(run), about=_about(run), css=Markup(css),  # noqa: S704 - own file
        light=Markup(css_variables(False)), dark=Markup(css_variables(True)),  # noqa: S704 - constants
        cards=tables.cards(run), numbers=tables.numbers(run), interval=tables.interval_word(run),
        classes=tables.class_table(run), graph=_inline_graph(graph, bool(_paths(run))), graph_note=_graph_note(run),
        load_reached=load_words_reached(run), narrow={n: shown.get(f"{n}_narrow") for n in ("load", "pacing", "stream")},
        test_start=_test_start(run), timelines=_timelines(run, shown), charts={n: shown.get(n) for n in CHART_WORDS},
        incidents=tables.incident_rows(run), no_incidents=_no_incidents(run), alerts=alert_table(run),
        known=run.window()["test"]["prevalence"] is not None, threshold=tables.threshold_facts(run),
        triggers=tables.trigger_table(run), trigger_legend=trigger_legend(run),
        trigger_recovery=trigger_recovery(run), prevalence=_prevalence(run), no_curves=_no_curves(run),
        lengths=tables.window_table(run), capture=capture_table(run), blind=tables.blind_notes(run), blind_spots=blind_spot_table(run),
        cautions=tables.cautions(run), stream=stream_block(run), command=reproduce_command(run.spec), identity=_identity(run), files=_files(run),
    )  # fmt: skip


def _unbroken(text: str) -> str:
    """No line break between a number and its unit."""
    return re.sub(r"(?<=\d) (?=(?:[kMG]?B|s|min|h|%|a day)\b)", "\u00a0", text)


def _words(run: RunFiles, name: str) -> str:
    if (plain := name.removesuffix("_narrow")) in CHART_WORDS:
        return CHART_WORDS[plain]
    return describe_timeline(run, int(name.split("_")[1].removesuffix("s")))


def _inline_graph(graph: Drawing | None, leaking: bool) -> dict[str, Any] | None:
    if graph is None:
        return None
    content = graph.content
    words = f"Service graph of {len(content.kinds)} nodes" + (" with the path of the leak in red" if leaking else "")
    svg = inline(graph.svg, "graph", words).replace("<svg", f'<svg style="max-width: {graph.width}px"', 1)
    return {"svg": Markup(svg), "hidden": content.hidden, "left_out": content.left_out, "leaking": leaking}  # noqa: S704 - own SVG, names escaped


def _graph_note(run: RunFiles) -> str:
    paths = list(dict.fromkeys(tuple(tables.short(name) for name in path) for path in _paths(run)))
    if not paths:
        known = run.window()["test"]["positive_windows"] is not None
        return "No leak was delivered." if known else "There is no ledger, so no leak is drawn."
    if len(paths) == 1:
        return f"The leak went {' → '.join(paths[0])} (outside)."
    return f"The leaks took {len(paths)} different paths."


def _timelines(run: RunFiles, shown: dict[str, Markup]) -> list[dict[str, Any]]:
    rows = []
    for window_s in run.lengths:
        name = f"timeline_{window_s}s"
        caption = describe_timeline(run, window_s) + "."
        rows.append({"window_s": window_s, "wide": shown[name], "narrow": shown[f"{name}_narrow"], "caption": caption})
    return rows


def _test_start(run: RunFiles) -> str:
    test = run.scores[run.scores["recording"] == "test"]
    if not len(test):
        return "an unknown time"
    return utc(int(test["window_start"].min())).replace("T", " ").replace("Z", " UTC")


def _no_incidents(run: RunFiles) -> str:
    if run.window()["test"]["prevalence"] is None:
        return "There is no ledger (truth.jsonl) for this recording, so nobody knows what happened in it."
    return "No leak was staged: this run measures false alerts only."


def _prevalence(run: RunFiles) -> str:
    value = run.window()["test"]["prevalence"]
    return "unknown" if value is None else percent(value)


def _no_curves(run: RunFiles) -> str:
    measure = run.window()["overall"].get("auroc") or {}
    return str(measure.get("reason") or "there are no points in metrics.json")


def _about(run: RunFiles) -> list[tuple[str, str]]:
    spec = run.spec
    leak, load = spec.get("exfiltration", {}), spec.get("load", {})
    rates = leak.get("rates_bytes_per_min") or [leak.get("rate_bytes_per_min") or 0]
    rate = " / ".join(format_bytes(r) for r in rates if r)
    rows = [
        ("Application", spec.get("app", {}).get("name")),
        ("Cluster", spec.get("cluster", {}).get("name")),
        ("Load", load_words(load)),
        ("Exfiltration", f"{leak.get('name')}" + (f" at {rate} a minute" if rate else "")),
        ("Detector", detector_words(run)),
        ("Windows", f"{run.primary_s} s"),
        ("Seed", spec.get("seed")),
    ]
    return [(term, str(text)) for term, text in rows if text is not None]


def detector_words(run: RunFiles) -> str:
    """Its name; of a supervised one also the leaks it was shown."""
    name = str(run.spec.get("detector", {}).get("name"))
    shown = [row for row in run.truth if row.get("recording") == "train"]
    if not shown:
        return name
    paths = " and ".join(sorted({" → ".join(row["path"]) for row in shown}))
    return f"{name} (supervised: it was shown {len(shown)} labelled leaks over {paths}; compare it with supervised ones only)"


def _identity(run: RunFiles) -> list[tuple[str, str]]:
    facts = run.environment
    git = facts.get("git") or {}
    commit = f"{git.get('commit') or 'not recorded'}{' with uncommitted changes' if git.get('dirty') else ''}"
    packages = {"mimir": facts.get("mimir"), "python": facts.get("python"), **(facts.get("packages") or {})}
    versions = ", ".join(f"{name} {number}" for name, number in packages.items() if number)
    rows = [("Signature", run.signature), ("Seed", str(run.spec.get("seed"))), ("Git commit", commit)]
    rows += [("Versions", versions or "not recorded"), ("Platform", str(facts.get("platform") or "not recorded"))]
    return rows


def _files(run: RunFiles) -> list[dict[str, str]]:
    """Files the page rests on, with size and digest."""
    rows = []
    for path in sorted(p for p in run.folder.rglob("*") if p.is_file()):
        name = path.relative_to(run.folder).as_posix()
        if name in NOT_LISTED or name.startswith((".", "figures/")):
            continue
        size = path.stat().st_size
        digest = sha256(path) if size <= HASH_LIMIT_BYTES else "see manifest.json"
        rows.append({"name": name, "size": format_bytes(size), "sha256": digest})
    return rows
