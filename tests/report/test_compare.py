"""Comparing run directories in every condition they may be in."""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from scipy import stats

from mimir.files import read_json, write_json
from mimir.report.compare import MAIN_MEASURES, compare
from mimir.report.comparison_output import triggers

NULL = {"value": None, "low": None, "high": None, "reason": "no incident was detected"}


def make_run(
    root: Path,
    seed: int,
    detector: str = "allowlist",
    rate: float = 1000,
    state: str = "done",
    error: str | None = None,
    **values: float | None,
) -> Path:
    folder = root / f"sockshop-relay_chain-{detector}-s{seed}-{rate:g}-{state}"
    folder.mkdir()
    spec = {
        "app": {"name": "sockshop"},
        "exfiltration": {"name": "relay_chain", "rate_bytes_per_min": rate},
        "detector": {"name": detector, "windows_s": [60]},
        "seed": seed,
    }
    (folder / "spec.yaml").write_text(yaml.safe_dump(spec), encoding="utf-8")
    write_json(folder / "status.json", {"state": state, "error": error, "stage": "detect", "exit_code": 0})
    if state == "done":
        overall: dict[str, Any] = {m: NULL for m in MAIN_MEASURES}
        overall |= {k: NULL | {"value": v, "reason": None} for k, v in values.items() if v is not None}
        metrics = {
            "primary_window_s": 60,
            "confidence": 0.9,
            "alerts_per_day": 1.0,
            "windows": {"60": {"overall": overall}},
        }
        write_json(folder / "metrics.json", metrics)
    return folder


def test_seeds_are_averaged_with_a_t_interval(tmp_path: Path) -> None:
    recalls = [0.5, 0.75, 1.0]
    made = compare([make_run(tmp_path, seed, event_recall=r) for seed, r in enumerate(recalls)])
    line = made.table.iloc[0]
    low, high = stats.t.interval(0.9, 2, loc=0.75, scale=stats.sem(recalls))
    assert (line["event_recall"], line["runs"], line["finished"], line["state"]) == (0.75, 3, 3, "done")
    assert line[["event_recall_low", "event_recall_high"]].tolist() == pytest.approx([low, high])
    assert line["seeds"] == "0 1 2"
    assert "75 % ± 42.1 %" in made.text()
    assert "90 % Student t interval" in made.text()


@pytest.mark.parametrize("seeds", [1, 2])
def test_one_or_two_runs_have_no_interval_and_say_so(tmp_path: Path, seeds: int) -> None:
    made = compare([make_run(tmp_path, seed, event_recall=1.0, delay_median_s=120.0) for seed in range(seeds)])
    assert np.isnan(made.table["event_recall_low"].iloc[0])
    assert "±" not in made.text()
    assert "fewer than 3 a row give no interval" in made.text()
    assert "2 min" in made.text()


def test_a_measure_that_some_runs_lack_says_how_many_have_it(tmp_path: Path) -> None:
    made = compare([make_run(tmp_path, 1), *(make_run(tmp_path, seed, delay_median_s=60.0) for seed in (2, 3, 4))])
    assert made.table["delay_median_s_runs"].tolist() == [3]
    assert "1 min ± 0 s (3 of 4)" in made.text()
    assert made.table["f1_runs"].tolist() == [0]
    assert np.isnan(made.table["f1"].iloc[0])


def test_the_page_links_to_the_reports_of_its_runs(tmp_path: Path) -> None:
    run = make_run(tmp_path, 7, event_recall=1.0)
    (run / "report.html").write_text("report")
    page = compare([run]).html(tmp_path / "sweeps" / "today")
    link = re.search(r'<a href="([^"]+)">seed 7</a>', page)
    assert link is not None
    assert (tmp_path / "sweeps" / "today" / link[1]).resolve() == run / "report.html"
    assert "<a " not in compare([run]).html()


def test_rows_are_options_and_differing_values_in_order(tmp_path: Path) -> None:
    runs = [make_run(tmp_path, 1, d, r, event_recall=0.5) for d in ("pca_spe", "allowlist") for r in (10_000, 9_000)]
    made = compare(runs)
    assert made.table["detector"].tolist() == ["allowlist", "allowlist", "pca_spe", "pca_spe"]
    assert made.table["exfiltration.rate_bytes_per_min"].tolist() == [9_000, 10_000, 9_000, 10_000]
    header = made.text().splitlines()
    assert header[0] == "same in all: app sockshop, exfiltration relay_chain"
    assert header[1].split()[:2] == ["detector", "rate_bytes_per_min"]
    assert "9 kB/min" in made.text()
    assert "alert budget 1 a day" in made.text()
    assert "not defined in any run: delay" in made.text()


def with_triggers(folder: Path, kinds: dict[str, tuple[int, int, int, int]], quiet: tuple[int, int]) -> Path:
    metrics = read_json(folder / "metrics.json")
    block = metrics["windows"]["60"]
    block["triggers"] = {
        kind: {"windows": a, "false_alerts": b, "after": {"windows": c, "false_alerts": d}}
        for kind, (a, b, c, d) in kinds.items()
    }
    block["undisturbed"] = {"windows": quiet[0], "false_alerts": quiet[1]}
    write_json(folder / "metrics.json", metrics)
    return folder


def test_triggers_and_detectors_are_a_table_over_all_runs(tmp_path: Path) -> None:
    one = with_triggers(make_run(tmp_path, 1), {"pod_kill": (60, 3, 30, 1)}, (600, 2))
    two = with_triggers(make_run(tmp_path, 2), {"pod_kill": (60, 1, 30, 0), "scale_out": (30, 0, 0, 0)}, (600, 0))
    other = with_triggers(make_run(tmp_path, 1, detector="invariants"), {"pod_kill": (120, 0, 60, 0)}, (600, 0))
    heading, rows = triggers(compare([one, two, other]))
    assert heading == ["Trigger", "allowlist: during", "allowlist: after", "invariants: during", "invariants: after"]
    assert rows == [
        ["pod kill", "4 (2 an hour)", "1 (1 an hour)", "0", "0"],
        ["scale out", "0", "–", "–", "–"],
        ["(no trigger)", "2 (0.1 an hour)", "–", "0", "–"],
    ]
    made = compare([one, two, other])
    assert "4 (2 an hour)" in made.html()
    assert "pod kill" in made.text()
    assert triggers(compare([make_run(tmp_path, 9)])) == ([], [])


def test_failed_and_interrupted_runs_are_rows_with_their_error(tmp_path: Path) -> None:
    trace = "Traceback (most recent call last):\n  File x\n    f()\nValueError: no <b>good</b> & bad\nDuring: more\n"
    made = compare(
        [
            make_run(tmp_path, 1, event_recall=1.0),
            make_run(tmp_path, 2, state="failed", error=trace),
            make_run(tmp_path, 3, detector="pca_spe", state="failed", error="tshark is missing;\n  install it"),
            make_run(tmp_path, 4, detector="edge_count", state="running"),
        ]
    )
    table = made.table.set_index("detector")
    assert table.loc["allowlist", "state"] == "1 done, 1 failed"
    assert table.loc["allowlist", "event_recall"] == 1.0
    assert table.loc["pca_spe", ["state", "finished", "errors"]].tolist() == [
        "failed",
        0,
        "tshark is missing; install it",
    ]
    assert table.loc["edge_count", "errors"] == "not finished, last stage: detect"
    assert "ValueError: no <b>good</b> & bad" in made.text()
    assert "Traceback" not in made.text()
    assert "1 of 2" in made.text()
    assert "no &lt;b&gt;good&lt;/b&gt; &amp; bad" in made.html()
    assert "<b>good" not in made.html()


@pytest.mark.parametrize("name", ["spec.yaml", "status.json", "metrics.json"])
@pytest.mark.parametrize("content", [None, "", "{", "[1]", "a: [", "{}"])
def test_broken_files_never_stop_a_comparison(tmp_path: Path, name: str, content: str | None) -> None:
    good, bad = make_run(tmp_path, 1, event_recall=1.0), make_run(tmp_path, 2, event_recall=0.0)
    (bad / name).unlink()
    if content is not None:
        (bad / name).write_text(content, encoding="utf-8")
    made = compare([good, bad])
    assert len(made.unfinished) == 1
    assert all(run.error for run in made.unfinished)
    assert 1.0 in made.table["event_recall"].tolist()
    made.text()
    made.html()
    made.csv()


def test_missing_folders_and_nothing_at_all(tmp_path: Path) -> None:
    made = compare([tmp_path / "gone", tmp_path / "also-gone"])
    assert [run.state for run in made.unfinished] == ["unreadable"] * 2
    assert len(made.rows) == 2
    assert "spec.yaml is missing" in made.text()
    nothing = compare([])
    assert nothing.text() == "no runs to compare"
    assert nothing.table.empty
    assert "0 finished" in nothing.html()
    nothing.csv()


def test_smallest_detectable_rate(tmp_path: Path) -> None:
    recall = {
        "pca_spe": {1e3: 1.0, 1e4: 0.5, 1e5: 1.0, 1e6: 1.0},
        "allowlist": {1e3: 0.0, 1e4: 0.0, 1e5: 0.0, 1e6: 0.9},
    }
    runs = [make_run(tmp_path, 1, d, r, event_recall=v) for d, by_rate in recall.items() for r, v in by_rate.items()]
    made = compare(runs)
    assert {rest["detector"]: rate for rest, rate in made.smallest_rates()} == {"pca_spe": 1e5, "allowlist": None}
    assert "smallest rate detected (detector pca_spe): 100 kB/min" in made.text()
    assert "smallest rate detected (detector allowlist): none (event recall < 0.95" in made.text()
    assert compare(runs[:1]).smallest_rates() == []


def test_a_missed_expectation_is_shown_and_still_counted(tmp_path: Path) -> None:
    folder = make_run(tmp_path, 1, event_recall=0.2)
    write_json(folder / "status.json", {"state": "done", "exit_code": 3})
    table = compare([folder]).table
    assert table[["state", "finished", "event_recall"]].iloc[0].tolist() == ["expectation missed", 1, 0.2]


def test_csv_and_page_hold_the_same_rows_and_the_page_loads_nothing(tmp_path: Path) -> None:
    runs = [make_run(tmp_path, s, d, event_recall=0.5) for s in (1, 2) for d in ("pca_spe", "allowlist")]
    made = compare(runs)
    lines = list(csv.DictReader(io.StringIO(made.csv())))
    assert [line["detector"] for line in lines] == ["allowlist", "pca_spe"]
    assert lines[0]["f1"] == ""
    page = made.html()
    assert page.count("<td>pca_spe</td>") == 1
    assert not re.search(r"(?:src|href)\s*=|@import|url\(", page)
    assert compare(list(reversed(runs))).html() == page
