"""What a relative leak is measured by decides the test recording."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mimir.cluster.base import RecordingOrder
from mimir.cluster.baseline import Baseline
from mimir.pipeline.record_key import _rooms, record_key

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


def test_real_programs_are_part_of_the_key_of_a_testbed(monkeypatch: pytest.MonkeyPatch) -> None:
    order = RecordingOrder("fit", 0, 600, (1, 2), False, Path())
    testbed = {**PLAIN, "cluster": {"name": "netns"}}
    keys = []
    for stores in ({}, {"session-db": "redis-server"}):
        monkeypatch.setattr("mimir.pipeline.record_key._programs", lambda plain, found=stores: found)
        keys += [record_key(testbed, order), record_key(PLAIN, order)]
    assert keys[0] != keys[2]
    assert keys[1] == keys[3]


def test_a_recording_depends_on_the_code_of_its_own_cluster_only() -> None:
    def folders(cluster: str) -> set[str]:
        return {room for room in _rooms(cluster) if room.startswith("cluster/") and not room.endswith(".py")}

    assert folders("simulated") == {"cluster/simulated"}
    assert folders("netns") == {"cluster/netns", "cluster/simulated"}
    assert folders("recorded") == set()
    assert {"cluster/base.py", "cluster/recorded.py"} <= {*_rooms("recorded")}
