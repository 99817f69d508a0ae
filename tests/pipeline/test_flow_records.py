"""The flows stage: one file a run, each connection in the recording in which it begins."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pyarrow.parquet as pq
import pytest

from mimir.cluster.base import RecordingOrder
from mimir.pipeline import record_key as keys
from mimir.pipeline.cache import PACKAGE
from mimir.pipeline.flow_records import flows_key, flows_of, merge_flows
from tests.capture import capture_samples as s
from tests.flows.flow_samples import START_NS, START_S, conversation, directly, http


def spec(active_s: int = 0) -> Any:
    how = {"connection_timeout_s": 60.0, "flow_active_timeout_s": active_s, "reorder_ms": 10.0}
    return cast(Any, SimpleNamespace(capture=SimpleNamespace(**how)))


def test_one_capture_cut_into_recordings(tmp_path: Path) -> None:
    """A capture that serves two recordings: no connection twice, none lost, metadata kept."""
    (tmp_path / "capture").mkdir()
    talks = [conversation(directly((f"10.244.1.{i}", 40_000)), http(), START_NS + i * 10**10) for i in range(4)]
    s.save(tmp_path / "capture" / "x.pcap", s.pcap([f for talk in talks for f in talk], s.SLL2))
    (tmp_path / "entities.jsonl").write_text("")
    facts = flows_of(spec(), tmp_path, tmp_path / "entities.jsonl", tmp_path)
    assert facts == {"rows": 4, "idle_timeout_s": 60.0, "active_timeout_s": 0}
    whole, cut = tmp_path / "flows.parquet", START_S + 20
    parts = [("fit", whole, START_S, cut), ("test", whole, cut, START_S + 60)]
    assert merge_flows(parts, tmp_path / "all.parquet") == 4
    merged = pq.read_table(tmp_path / "all.parquet")
    assert merged["recording"].to_pylist() == ["fit", "fit", "test", "test"]
    assert merged["id.orig_h"].to_pylist() == [f"10.244.1.{i}" for i in range(4)]
    assert merged.schema.metadata == {b"idle_timeout_s": b"60", b"active_timeout_s": b"0"}


def test_files_that_are_flow_records_already_give_none(tmp_path: Path) -> None:
    (tmp_path / "capture").mkdir()
    (tmp_path / "capture" / "conn.log").write_text('{"ts": 1.0, "id.orig_h": "10.0.0.1"}\n')
    assert flows_of(spec(300), tmp_path, tmp_path / "entities.jsonl", tmp_path)["rows"] == 0
    assert not (tmp_path / "flows.parquet").exists()


def test_the_time_outs_are_part_of_the_key() -> None:
    assert flows_key(spec(), {"capture 0": "a"}) != flows_key(spec(300), {"capture 0": "a"})


@pytest.mark.parametrize(("cluster", "watched"), [("recorded", True), ("simulated", False)])
def test_recordings_of_flow_files_depend_on_the_code_that_reads_them(
    monkeypatch: pytest.MonkeyPatch, cluster: str, watched: bool
) -> None:
    """Their time span comes from there; a change in it must not leave an old span in the cache."""
    monkeypatch.setattr(keys, "stage_key", lambda name, rooms, part, files: " ".join(rooms))
    test = {"users": None, "sessions_per_min": None, "mix": None}
    plain: dict[str, Any] = {
        "app": {"users": {"mix": {}, "mixes": {}}},
        "exfiltration": {"channel": "http_relay"},
        "cluster": {"name": cluster},
    }
    plain["load"] = {"test": test, "series_sha256": None, "mix": None, "triggers": []}
    plain["capture"] = {"snaplen_bytes": 320, "payload": "dns"}
    key = keys.record_key(plain, RecordingOrder("fit", 0, 60, (1, 0), False, Path()))
    assert ("flows/foreign" in key) == watched
    assert all((PACKAGE / room).exists() for room in key.split())
