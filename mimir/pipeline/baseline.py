"""Fit edges → what a relative or adaptive leak of the test recording is measured by."""

from __future__ import annotations

import math
from pathlib import Path

from mimir.cluster.base import RecordingOrder
from mimir.cluster.baseline import Baseline, estimate
from mimir.files import read_jsonl
from mimir.spec import Spec


def baseline_of(
    spec: Spec, services: tuple[str, str], order: RecordingOrder, edges_parquet: Path, timeline: Path
) -> Baseline:
    """Baseline of the edge between two services, either way round, at the detector's first window length."""
    from mimir.flows.series import load_series

    window_s = spec.detector.windows_s[0]
    start_s = _started_s(order, timeline)
    first = -(-start_s // window_s) * window_s
    windows = (start_s + order.duration_s - first) // window_s
    series = load_series(edges_parquet, "", window_s, first, windows, workloads={}, sensitive=())
    wanted = [i for i, key in enumerate(series.edges) if {key.client, key.server} == {*services}]
    sent, answered, exchanges = (
        series.dense(name)[:, wanted].sum(axis=1) for name in ("request_bytes", "response_bytes", "exchanges")
    )
    return estimate(" → ".join(services), window_s, sent + answered, exchanges)


def _started_s(order: RecordingOrder, timeline: Path) -> int:
    """When the recording really began: a real cluster goes by the clock, not by the order."""
    begun = (
        [row["ts"] for row in read_jsonl(timeline) if row["event"] == "recording_started"] if timeline.exists() else []
    )
    return math.ceil(begun[0]) if begun else order.start_s
