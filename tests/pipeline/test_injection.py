"""Synthetic leaks: the same bytes in every window length and view, nothing else changed, the benign capture shared."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq
import pytest

from mimir.cluster.base import RecordingOrder
from mimir.exfiltration.ledger import read_ledger
from mimir.flows.edges import COUNTERS
from mimir.pipeline.clusters import create_cluster
from mimir.pipeline.record_key import record_key
from mimir.pipeline.recordings import Recorded, record_one
from mimir.spec import Spec
from tests.cluster.simulated_samples import START_S, make_spec

KEYS = ["window_s", "window_start", "client", "server", "server_port", "proto", "view"]
CHANGES = {"load": {"users": 5}, "exfiltration": {"incidents": 2, "incident_duration_s": 60, "gap_s": 60}}


def plain_of(spec: Spec) -> dict[str, Any]:
    return asdict(spec)


def recorded(folder: Path, option: str) -> Recorded:
    changes = CHANGES if option != "none" else {"load": CHANGES["load"]}
    spec = make_spec(changes, exfiltration=option)
    order = RecordingOrder("test", START_S, 600, (1, 2), True, Path())
    with create_cluster(spec) as running:
        return record_one(spec, plain_of(spec), folder, order, lambda *_: None, running.record)


def edges(one: Recorded) -> pd.DataFrame:
    frame = pq.read_table(one.edges.folder / "edges.parquet").to_pandas()
    for name in ("recording", "client", "server", "proto", "view"):
        frame[name] = frame[name].astype(str)
    return frame.set_index(KEYS)[list(COUNTERS)]


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Recorded, Recorded]:
    folder = tmp_path_factory.mktemp("cache")
    return recorded(folder, "none"), recorded(folder, "synthetic")


def test_the_benign_capture_is_shared(pair: tuple[Recorded, Recorded]) -> None:
    benign, leaking = pair
    assert leaking.record.reused
    assert leaking.record.files == benign.record.files
    assert leaking.edges.folder.name.startswith("synthetic-")


def test_every_window_length_and_view_gets_the_stolen_bytes_and_nothing_else(pair: tuple[Recorded, Recorded]) -> None:
    benign, leaking = (edges(one) for one in pair)
    difference = (leaking.sub(benign, fill_value=0)).reset_index()
    changed = difference[(difference[list(COUNTERS)] != 0).any(axis=1)]
    bytes_only = ("response_bytes", "response_payload_bytes")
    assert (changed[[c for c in COUNTERS if c not in bytes_only]] == 0).all(axis=None)
    stolen = sum(entry.bytes_delivered for entry in read_ledger(pair[1].edges.folder / "truth.jsonl"))
    hops = 3
    for window_s in (10, 60):
        for view in ("pod", "service"):
            part = changed[(changed["window_s"] == window_s) & (changed["view"] == view)]
            assert part["response_bytes"].sum() == part["response_payload_bytes"].sum() == hops * stolen
    service = changed[(changed["view"] == "service") & (changed["window_s"] == 60)]
    assert set(zip(service["client"], service["server"], strict=True)) == {
        ("outside:clients", "front-end"), ("front-end", "user"), ("user", "user-db"),
    }  # fmt: skip


def test_short_windows_add_up_to_long_ones(pair: tuple[Recorded, Recorded]) -> None:
    leaking = edges(pair[1]).reset_index()
    short = leaking[leaking["window_s"] == 10].copy()
    short["window_start"] = short["window_start"] // 60 * 60
    keys = KEYS[1:]
    summed = short.groupby(keys)[list(COUNTERS)].sum().sort_index()
    long = leaking[leaking["window_s"] == 60].set_index(keys)[list(COUNTERS)].sort_index()
    pd.testing.assert_frame_equal(summed, long, check_dtype=False)


def test_rows_stand_in_the_order_of_the_file(pair: tuple[Recorded, Recorded]) -> None:
    frame = pq.read_table(pair[1].edges.folder / "edges.parquet").to_pandas()
    assert frame.equals(frame.sort_values(KEYS, kind="stable").reset_index(drop=True))


def test_the_ledger_names_synthetic_leaks_and_their_pods(pair: tuple[Recorded, Recorded]) -> None:
    entries = read_ledger(pair[1].edges.folder / "truth.jsonl")
    assert [entry.channel for entry in entries] == ["synthetic"] * 2
    for entry in entries:
        assert entry.path == ("user-db", "user", "front-end", "outside")
        assert entry.pods[0] == "user-db-0"
        assert entry.pods[-1] == ""
        assert entry.bytes_delivered == entry.bytes_intended == 100_000


def test_triggers_keep_away_from_incidents_so_the_capture_is_not_shared() -> None:
    order = RecordingOrder("test", START_S, 3600, (1, 2), True, Path())
    for triggers, same in (([], True), (["pod_kill"], False)):
        specs = [make_spec({"load": {"triggers": triggers}}, exfiltration=name) for name in ("none", "synthetic")]
        keys = {record_key(plain_of(spec), order) for spec in specs}
        assert (len(keys) == 1) is same
