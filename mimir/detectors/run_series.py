"""Benign recordings of a finished run as an EdgeSeries (for questions asked after the run)."""

from __future__ import annotations

import math
from pathlib import Path

from mimir.errors import MimirError
from mimir.files import read_jsonl
from mimir.flows.edges import EdgeSeries
from mimir.flows.identity import read_workloads
from mimir.flows.series import load_series


def benign_series(run: Path, recording: str, window_s: int) -> EdgeSeries:
    """Whole windows of a recording (fit or calibrate); MimirError where the run directory lacks a file or the recording."""
    for name in ("timeline.jsonl", "entities.jsonl", "edges.parquet"):
        if not (run / name).is_file():
            raise MimirError(f"{run / name} is missing; is {run} a finished run directory?")
    times = {
        row["event"]: float(row["ts"])
        for row in read_jsonl(run / "timeline.jsonl")
        if row.get("recording") == recording and row["event"] in ("recording_started", "recording_ended")
    }
    if len(times) < 2:
        raise MimirError(f"{run / 'timeline.jsonl'} knows no recording {recording!r}")
    first = math.ceil(times["recording_started"] / window_s) * window_s
    windows = int((times["recording_ended"] - first) // window_s)
    if windows < 1:
        raise MimirError(f"recording {recording} of {run} holds no whole window of {window_s} s")
    names = read_workloads(run / "entities.jsonl")
    return load_series(run / "edges.parquet", recording, window_s, first, windows, names, frozenset())
