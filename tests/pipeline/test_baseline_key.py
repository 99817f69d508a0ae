"""What a relative leak is measured by decides the test recording."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from mimir.cluster.base import RecordingOrder
from mimir.cluster.baseline import Baseline
from mimir.pipeline.record_key import record_key

PLAIN: dict[str, Any] = {
    "app": {"users": {"mix": {"buy": 1.0}, "mixes": {}}},
    "cluster": {"name": "simulated"},
    "load": {
        "test": {"users": None, "sessions_per_min": None, "mix": None},
        "series_sha256": None,
        "mix": None,
        "triggers": [],
    },
    "exfiltration": {"channel": "http_relay"},
    "capture": {"snaplen_bytes": 96, "payload": "none"},
}


def test_a_baseline_is_part_of_the_key_of_the_recording_it_shapes() -> None:
    order = RecordingOrder("test", 0, 600, (1, 2), True, Path())
    small = replace(order, baseline=Baseline("user → user-db", 60, 1000.0, 10.0))
    large = replace(order, baseline=Baseline("user → user-db", 60, 2000.0, 10.0))
    keys = [record_key(PLAIN, one) for one in (order, small, large)]
    assert len(set(keys)) == 3
    assert record_key(PLAIN, replace(small, folder=Path("elsewhere"))) == keys[1]
