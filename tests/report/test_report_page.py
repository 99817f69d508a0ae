from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

from mimir.files import read_json, read_jsonl, sha256, write_json, write_jsonl
from mimir.report import build_report, terminal_summary
from mimir.report.alerts import MAX_EPISODES, alert_table
from mimir.report.command import reproduce_command
from mimir.report.load import load_run
from mimir.report.theme import PALETTE, inline
from mimir.report.words import false_alerts
from tests.support.run_directory import Sample, build_run_directory, sample_spec

SECTIONS = [
    "numbers",
    "graph",
    "timeline",
    "incidents",
    "alerts",
    "threshold",
    "curves",
    "capture",
    "blind",
    "reproduce",
]
VOID = {"meta", "link", "br", "img", "input", "hr"}


class Outline(HTMLParser):
    """Checks that tags close in order, and collects ids, sections and tables."""

    def __init__(self) -> None:
        super().__init__()
        self.stack: list[str] = []
        self.ids: list[str] = []
        self.sections: list[str | None] = []
        self.captions = self.tables = 0
        self.images: list[dict[str, str | None]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.ids += [str(values["id"])] if "id" in values else []
        self.sections += [values.get("id")] if tag == "section" else []
        self.tables += tag == "table"
        self.captions += tag == "caption"
        self.images += [values] if tag == "svg" else []
        if tag not in VOID:
            self.stack.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.ids += [str(value) for name, value in attrs if name == "id"]

    def handle_endtag(self, tag: str) -> None:
        assert self.stack.pop() == tag, f"</{tag}> closes nothing"


def _outline(page: str) -> Outline:
    outline = Outline()
    outline.feed(page)
    outline.close()
    assert outline.stack == []
    return outline


def test_page_is_well_formed_accessible_and_in_order(reported: Path) -> None:
    outline = _outline((reported / "report.html").read_text())
    assert outline.sections == SECTIONS
    assert len(outline.ids) == len(set(outline.ids)), "ids are unique although many figures share the page"
    assert outline.tables == outline.captions >= 6
    assert len(outline.images) >= 6
    assert all(svg["role"] == "img" and svg["aria-label"] for svg in outline.images)


def test_page_needs_nothing_from_outside(reported: Path) -> None:
    page = (reported / "report.html").read_text()
    assert "default-src 'none'" in page
    assert re.findall(r'(?:src|href)="(?!#)([^"]*)"', page) == ["data:,"]
    assert re.findall(r"url\((?!#)[^)]*\)", page) == []
    assert "http://" not in page
    assert "https://" not in page


def test_page_tells_what_happened(reported: Path) -> None:
    page = (reported / "report.html").read_text()
    assert "3 of 3 incidents were detected" in page
    assert "front-end never spoke to this address before" in page
    assert "false alert" in page
    assert "user-db → user → front-end → drop.example" in page
    assert sha256(reported / "edges.parquet") in page
    assert "0123456789abcdef0123456789abcdef01234567" in page
    assert "generalised Pareto tail" in page
    assert "402,110 (98.8 MB)" in page
    assert "Counted and never seen: Copies removed: interface; Dropped." in page


def test_every_number_of_the_run_is_shown_at_every_window_length(reported: Path) -> None:
    page = (reported / "report.html").read_text()
    metrics = read_json(reported / "metrics.json")
    assert len(metrics["windows"]) == 2
    for window_s in metrics["windows"]:
        assert f'<th scope="row">{window_s} s</th>' in page


def test_figures_are_whole_documents(reported: Path) -> None:
    found = sorted(path.name for path in (reported / "figures").iterdir())
    assert found == [
        "graph.svg", "pacing.svg", "pacing_narrow.svg", "precision_recall.svg", "roc.svg", "threshold.svg", "timeline_10s.svg", "timeline_10s_narrow.svg",
        "timeline_60s.svg", "timeline_60s_narrow.svg",
    ]  # fmt: skip
    for path in (reported / "figures").iterdir():
        assert ElementTree.parse(path).getroot().tag.endswith("svg")


def test_same_files_give_the_same_bytes(reported: Path, tmp_path: Path) -> None:
    again = build_run_directory(tmp_path, Sample(false_alerts=1))
    build_report(again)
    for name in ("report.html", *(f"figures/{path.name}" for path in (reported / "figures").iterdir())):
        assert (again / name).read_bytes() == (reported / name).read_bytes(), name


def test_building_twice_changes_nothing(reported: Path) -> None:
    before = sha256(reported / "report.html")
    build_report(reported)
    assert sha256(reported / "report.html") == before


def test_words_from_the_run_are_escaped(tmp_path: Path) -> None:
    run = build_run_directory(tmp_path, Sample(incidents=1, detected=1))
    alerts = read_jsonl(run / "alerts.jsonl")
    alerts[0]["reasons"][0]["text"] = "<script>alert(1)</script>"
    write_jsonl(run / "alerts.jsonl", alerts[:1])
    build_report(run)
    page = (run / "report.html").read_text()
    assert "<script>alert(1)" not in page
    assert "&lt;script&gt;alert(1)" in page


def test_run_without_incidents_prints_reasons_not_zeros(tmp_path: Path) -> None:
    run = build_run_directory(tmp_path, Sample(incidents=0))
    build_report(run)
    page = (run / "report.html").read_text()
    _outline(page)
    assert "No leak was staged: this run measures false alerts only." in page
    assert "Neither curve is defined: no incidents in the test recording." in page
    assert "No alert was raised." in page
    blind = page[page.index('id="blind"') :]
    assert "Incidents detected" in blind
    assert not (run / "figures" / "roc.svg").exists()


def test_optional_files_may_be_missing(tmp_path: Path) -> None:
    run = build_run_directory(tmp_path, Sample(detected=0))
    for name in ("capture.json", "environment.json", "alerts.jsonl", "graphs/service.graphml", "status.json"):
        (run / name).unlink()
    build_report(run)
    page = (run / "report.html").read_text()
    _outline(page)
    assert "This run has no <code>capture.json</code>." in page
    assert "This run has no <code>graphs/service.graphml</code>." in page


def test_many_alerts_are_grouped_and_capped(tmp_path: Path) -> None:
    run = build_run_directory(tmp_path, Sample(incidents=1, detected=1))
    pattern = read_jsonl(run / "alerts.jsonl")[0]
    start = pattern["ts"]
    write_jsonl(run / "alerts.jsonl", [pattern | {"ts": start + 600 * i} for i in range(MAX_EPISODES + 7)])
    table = alert_table(load_run(run))
    assert (len(table.episodes), table.episodes_hidden, table.alerts) == (MAX_EPISODES, 7, MAX_EPISODES + 7)
    build_report(run)
    assert "7 shorter episodes are not shown" in (run / "report.html").read_text()


def test_alerts_that_follow_each_other_are_one_episode(tmp_path: Path) -> None:
    run = build_run_directory(tmp_path, Sample(incidents=2, detected=2))
    table = alert_table(load_run(run))
    assert [(episode.window_s, episode.truth) for episode in table.episodes] == [
        (60, "i1"), (60, "i2"), (10, "i1"), (10, "i2"),
    ]  # fmt: skip
    alerts = read_jsonl(run / "alerts.jsonl")
    first = table.episodes[0]
    assert first.alerts == sum(a["window_s"] == 60 for a in alerts) // 2
    assert [reason.count for reason in first.reasons] == [first.alerts, first.alerts]


def test_alert_just_after_an_incident_is_neither_right_nor_wrong(tmp_path: Path) -> None:
    run = build_run_directory(tmp_path, Sample(incidents=1, detected=1))
    alerts = read_jsonl(run / "alerts.jsonl")
    end = int(load_run(run).incidents()[0]["end"]) // 60 * 60
    late = [alerts[0] | {"ts": end + 240, "window_s": 60}, alerts[0] | {"ts": end + 600, "window_s": 60}]
    write_jsonl(run / "alerts.jsonl", late)
    files = load_run(run)
    assert [(e.truth, e.echo) for e in alert_table(files).episodes] == [("i1", True), ("", False)]
    assert len(false_alerts(files)) == 1


def test_command_repeats_the_run() -> None:
    spec = sample_spec(Sample()) | {
        "cluster": {"name": "recorded", "capture": "my file.pcap", "split": [0.5, 0.25, 0.25]}
    }
    command = reproduce_command(spec)
    assert command.startswith("python run.py app=sockshop cluster=recorded load=normal ")
    assert "seed=7" in command
    assert "cluster.capture=" in command
    assert "cluster.split=[0.5,0.25,0.25]" in command
    assert "cluster.truth" not in command


def test_inline_figure_is_themed_and_its_ids_are_its_own() -> None:
    light = PALETTE["leak"][0]
    svg = f'<?xml version="1.0"?>\n<svg width="9" height="9"><g id="a" style="fill: {light}"><use href="#a"/></g></svg>'
    drawing = '<g id="x-a" style="fill: var(--leak)"><use href="#x-a"/></g>'
    assert inline(svg, "x", 'says "it"') == f'<svg role="img" aria-label="says &quot;it&quot;">{drawing}</svg>'


def test_colours_have_enough_contrast() -> None:
    def luminance(colour: str) -> float:
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    pairs = [("ink", "card"), ("muted", "card"), ("muted", "page"), ("accent", "page"), ("good", "goodsoft")]
    pairs += [("warn", "warnsoft"), ("leak", "shade"), ("muted", "soft"), ("ink", "warnsoft"), ("leak", "card")]
    for theme in (0, 1):
        for text, ground in pairs:
            high, low = sorted((luminance(PALETTE[role][theme]) for role in (text, ground)), reverse=True)
            assert (high + 0.05) / (low + 0.05) >= 4.5, (text, ground, theme)


def test_terminal_summary_fits_a_terminal_and_points_to_the_report(reported: Path) -> None:
    text = terminal_summary(reported)
    assert "3 of 3 incidents were detected" in text.replace("\n", " ")
    assert str(reported / "report.html") in text
    assert max(len(line) for line in text.splitlines() if str(reported) not in line) <= 110


def test_terminal_summary_says_why_a_measure_is_missing(tmp_path: Path) -> None:
    run = build_run_directory(tmp_path, Sample(detected=0))
    text = terminal_summary(run)
    assert "– no incident was detected: Delay, median; Lost, median; Path right" in text
    assert "report.html" not in text, "there is none yet"


def test_seconds_are_not_in_the_page(reported: Path) -> None:
    before = (reported / "report.html").read_bytes()
    status = read_json(reported / "status.json")
    write_json(reported / "status.json", status | {"stages": {"record": {"seconds": 99.0, "reused": True}}})
    build_report(reported)
    assert (reported / "report.html").read_bytes() == before


def test_what_switched_itself_off_is_said(tmp_path: Path) -> None:
    run = build_run_directory(tmp_path, Sample())
    state = read_json(run / "detector" / "w60" / "state.json")
    state["state"] |= {"I2": {"note": "no service addresses in the training recording"}, "I3": {"note": ""}}
    write_json(run / "detector" / "w60" / "state.json", state)
    status = read_json(run / "status.json")
    write_json(run / "status.json", status | {"earlier_thresholds": 2})
    capture = read_json(run / "capture.json")
    capture["test"] |= {"dropped": 17, "damaged": ["test.pcap: cut off at byte 9"]}
    write_json(run / "capture.json", capture)
    build_report(run)
    page = (run / "report.html").read_text()
    assert "I2 is switched off: no service addresses in the training recording" in page
    assert "I3 is switched off" not in page
    assert "scored under 2 other thresholds before" in page
    assert "dropped 17 packets of the test recording" in page
    assert "test.pcap: cut off at byte 9" in page
