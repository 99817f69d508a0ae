"""The section for the one stream of alerts: there with several window lengths, left out with one."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from mimir.files import read_json, read_jsonl, write_json, write_jsonl
from mimir.report.load import load_run
from mimir.report.stream import draw_stream_charts, stream_block
from tests.support.run_directory import Sample, build_run_directory, update


def with_stream(folder: Path) -> Path:
    """A run whose stream is that of its primary windows, every alert taken from 10 s windows."""
    run = build_run_directory(folder, Sample(false_alerts=1))
    scores = pd.read_parquet(run / "scores.parquet")
    scores[scores["window_s"] == 60].to_parquet(run / "stream.parquet", index=False)
    alerts = [
        a | {"from_window_s": 10, "from_ts": a["ts"]} for a in read_jsonl(run / "alerts.jsonl") if a["window_s"] == 60
    ]
    write_jsonl(run / "stream.jsonl", alerts)
    value = float(scores[scores["window_s"] == 60]["threshold"].iloc[0])
    write_json(run / "detector" / "stream.json", {"value": value, "extrapolated": True, "calibration_windows": 120})
    metrics = read_json(run / "metrics.json")
    update(run, "metrics.json", stream=metrics["windows"]["60"])
    return run


def test_threshold_alerts_and_timeline_of_the_stream(tmp_path: Path) -> None:
    run = load_run(with_stream(tmp_path))
    block, charts = stream_block(run), draw_stream_charts(run)
    assert block is not None
    facts = dict(block.facts)
    assert facts["Threshold"].endswith("extrapolated: rarer than calibration can show")
    assert facts["Calibrated on"] == "120 benign windows (2 h)"
    assert facts["Incidents detected"].startswith("100 %")
    assert {source for _, source in block.episodes} == {"10 s"}
    alerts = len(read_jsonl(run.folder / "stream.jsonl"))
    assert sum(episode.alerts for episode, _ in block.episodes) == alerts > 0
    assert f"{alerts} alerts in {len(block.episodes)} episodes" in block.caption
    assert [episode.truth for episode, _ in block.episodes].count("") == 1, "the false alert belongs to no incident"
    assert set(charts) == {"stream", "stream_narrow"}
    assert "threshold" in charts["stream"]


def test_a_run_without_a_stream_has_no_such_section(tmp_path: Path) -> None:
    run = load_run(build_run_directory(tmp_path, Sample()))
    assert stream_block(run) is None
    assert draw_stream_charts(run) == {}
