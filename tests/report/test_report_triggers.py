"""Benign triggers, load and pacing in the report of one run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mimir.files import read_json, read_jsonl, write_json, write_jsonl
from mimir.report import build_report
from mimir.report.bands import trigger_events, trigger_legend
from mimir.report.load import load_run
from mimir.report.load_figures import leak_series, load_series
from tests.support.run_directory import Sample, build_run_directory, update


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = build_run_directory(tmp_path_factory.mktemp("runs"), Sample())
    rows = read_jsonl(folder / "truth.jsonl")
    begin = min(r["start"] for r in rows) - 900
    for number, (kind, start, lasting) in enumerate([("pod_kill", 0, 2), ("scale_out", 300, 60), ("pod_kill", 500, 4)]):
        rows.append(rows[0] | {
            "incident": f"{kind}-{number}", "path_class": f"benign:{kind}", "start": begin + start,
            "end": begin + start + lasting, "bytes_delivered": 0, "delivered": [],
        })  # fmt: skip
    write_jsonl(folder / "truth.jsonl", rows)
    metrics = read_json(folder / "metrics.json")
    none = {"windows": 3, "false_alerts": 0, "false_alerts_per_hour": 0.0}
    for block in metrics["windows"].values():
        block["triggers"] = {"pod_kill": none | {"false_alerts": 2, "false_alerts_per_hour": 40.0, "after": none},
                             "scale_out": none | {"after": none | {"windows": 0}}}  # fmt: skip
        block["undisturbed"] = none | {"windows": 100}
    write_json(folder / "metrics.json", metrics)
    plan = read_json(folder / "plan.json")
    plan["cluster"] = {"load": {"test": {"asked": {"every_s": 60, "requests_per_min": [600.0] * 300}}}}
    write_json(folder / "plan.json", plan)
    return folder


def test_triggers_are_bands_with_letters_and_a_legend(run: Path) -> None:
    build_report(run)
    found = load_run(run)
    assert [(e["letter"], e["kind"]) for e in trigger_events(found)] == [
        ("a", "pod kill"), ("b", "scale out"), ("a", "pod kill")
    ]  # fmt: skip
    assert [(row["letter"], row["kind"], row["lasting"]) for row in trigger_legend(found)] == [
        ("a", "pod kill", "2 ×, 3 s"), ("b", "scale out", "1 min")
    ]  # fmt: skip
    page, svg = (run / "report.html").read_text(), (run / "figures" / "timeline_60s.svg").read_text()
    assert "benign trigger" in svg
    assert "3 benign triggers as bands with letters" in page
    assert "2 of 3, 40 an hour" in page
    assert "0 of 100" in page
    assert page.count("scale out (1 min)") == len(found.lengths)


def test_a_run_without_triggers_has_no_bands(reported: Path) -> None:
    page = (reported / "report.html").read_text()
    assert "benign trigger" not in page
    assert "Benign but unusual" not in page


def test_load_asked_and_reached(run: Path) -> None:
    update(run, "spec.yaml", app={"name": "sockshop", "users": {"entry": "front-end"}})
    import pandas as pd

    edges = pd.read_parquet(run / "edges.parquet")
    users = edges["client"].str.startswith("outside:") & (edges["server"] == "front-end")
    edges.loc[users & (edges["view"] == "service"), "client"] = "outside:clients"
    edges.to_parquet(run / "edges.parquet", index=False)
    series = load_series(load_run(run))
    assert series is not None
    offset_s, asked, reached = series
    assert (offset_s[0], set(asked)) == (0, {600.0})
    test = edges[(edges["recording"] == "test") & (edges["view"] == "service") & users & (edges["window_s"] == 60)]
    assert reached.sum() == test["exchanges"].sum() > 0
    build_report(run)
    page = (run / "report.html").read_text()
    assert "Asked for 600 requests a minute on average, reached" in page
    assert (run / "figures" / "load_narrow.svg").exists()


def test_the_pacing_is_that_of_the_ledger(run: Path) -> None:
    found = load_run(run)
    leaks = {row["incident"]: row for row in found.truth if row["delivered"]}
    series = leak_series(found)
    assert {name for name, _, _ in series} == set(leaks)
    for name, minutes, rate in series:
        step = float(np.diff(minutes).mean())
        assert rate.sum() * step == pytest.approx(leaks[name]["bytes_delivered"], rel=0.01)
        assert 0 < minutes[0] < minutes[-1] < (leaks[name]["end"] - leaks[name]["start"]) / 60
    assert "How fast each leak went" in (run / "report.html").read_text()
