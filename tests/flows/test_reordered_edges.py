"""Packets a little out of time order give the edges of the ordered capture once `reorder_ns` covers the disorder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from mimir.capture.reader import open_capture
from mimir.flows.build import build_edges
from tests.cluster.simulated_samples import make_recording, make_spec

JITTER_NS = 2_000_000


def edges(capture: Path, entities: Path, out: Path, reorder_ns: int) -> pd.DataFrame:
    build_edges([capture], entities, [60], "test", 60.0, out, reorder_ns)
    return pd.read_parquet(out)


def test_reordering_restores_the_edges(tmp_path: Path) -> None:
    recording = make_recording(make_spec({"load": {"users": 5}}), tmp_path / "r", 120)
    (batch,) = list(open_capture(list(recording.captures)))
    late = np.argsort(batch.ts_ns + np.random.default_rng(1).integers(0, JITTER_NS, len(batch)), kind="stable")
    shuffled = batch.take(late)
    assert (np.diff(shuffled.ts_ns) < 0).any()
    target = tmp_path / "shuffled.pcap"
    _write(target, recording.captures[0], late)
    ordered = edges(recording.captures[0], recording.entities, tmp_path / "a.parquet", 0)
    restored = edges(target, recording.entities, tmp_path / "b.parquet", JITTER_NS)
    left = edges(target, recording.entities, tmp_path / "c.parquet", 0)
    counters = ["request_bytes", "response_bytes", "connections", "exchanges", "mediated_bytes"]
    assert restored[counters].sum().equals(ordered[counters].sum())
    assert not left[counters].sum().equals(ordered[counters].sum())


def test_workers_change_nothing(tmp_path: Path) -> None:
    recording = make_recording(make_spec({"load": {"users": 5}}), tmp_path / "r", 60)
    files = [tmp_path / f"{workers}.parquet" for workers in (1, 2, 7)]
    reports = [
        build_edges(list(recording.captures), recording.entities, [1, 60], "test", 60.0, out, JITTER_NS, workers)
        for out, workers in zip(files, (1, 2, 7), strict=True)
    ]
    assert reports[0].rows > 0
    assert all(report.to_json() == reports[0].to_json() for report in reports)
    assert len({out.read_bytes() for out in files}) == 1


def _write(target: Path, source: Path, order: np.ndarray) -> None:
    """The records of a classic pcap file in another order."""
    data = source.read_bytes()
    spans, at = [], 24
    while at < len(data):
        size = 16 + int.from_bytes(data[at + 8 : at + 12], "little")
        spans.append((at, at + size))
        at += size
    assert len(spans) == len(order)
    target.write_bytes(data[:24] + b"".join(data[slice(*spans[i])] for i in order.tolist()))
