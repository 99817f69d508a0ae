"""edges.parquet → EdgeSeries; several recordings or shards → one file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mimir.capture import open_capture
from mimir.flows import build_edges, load_series, merge_edges, sum_edges
from mimir.flows.edges import COUNTERS, EdgeKey
from tests.capture import capture_samples as s
from tests.flows.flow_samples import (
    ENTITIES,
    POD,
    START_NS,
    START_S,
    Leg,
    conversation,
    datagrams,
    directly,
    edges_of,
    http,
    through_service,
)

LATER = conversation(directly(("10.244.9.9", 40_000)), http([(10, 20)]), START_NS + 25 * 10**9)
USER_EDGE = EdgeKey("web", "user", 8080, "tcp")


def test_a_series_has_all_windows_also_empty_ones(tmp_path: Path) -> None:
    result = edges_of(tmp_path, conversation(through_service(), http()), LATER, entities=ENTITIES)
    series = load_series(result.path, "test", 10, START_S - 20, 6, {"web-5d9-abcde": "web"}, {"user"})
    assert (series.window_start - START_S).tolist() == [-20, -10, 0, 10, 20, 30]
    assert series.edges == (EdgeKey("10.244.9.9", "user", 8080, "tcp"), USER_EDGE)
    assert series.dense("response_payload_bytes").tolist() == [[0, 0], [0, 0], [0, 5000], [0, 0], [20, 0], [0, 0]]
    assert list(series.table.columns) == ["window", "edge", *COUNTERS]
    assert series.sensitive == {"user"}
    assert series.workloads == {"web-5d9-abcde": "web"}
    assert series.pods is not None
    assert series.pods.edges[1] == EdgeKey("web-5d9-abcde", "user-7f-xyz12", 8080, "tcp")
    assert series.pods.pods is None
    assert np.array_equal(series.pods.window_start, series.window_start)


def test_a_series_is_cut_to_its_range_and_recording(tmp_path: Path) -> None:
    result = edges_of(tmp_path, conversation(through_service(), http()), LATER, entities=ENTITIES)
    cut = load_series(result.path, "test", 10, START_S + 20, 1, {}, (), view="pod")
    assert [key.client for key in cut.edges] == ["10.244.9.9"]
    none = load_series(result.path, "fit", 10, START_S, 3, {}, ())
    assert (len(none), none.edges, len(none.table)) == (3, (), 0)
    assert none.dense("connections").shape == (3, 0)
    for wrong in ({"first_start": START_S + 1}, {"view": "node"}):
        with pytest.raises(ValueError, match=r"first_start|view"):
            load_series(**{"edges_parquet": result.path, "recording": "test", "window_s": 10, "first_start": START_S, "windows": 1,
                           "workloads": {}, "sensitive": ()} | wrong)  # fmt: skip


def test_recordings_are_merged_under_their_names(tmp_path: Path) -> None:
    paths = {}
    for number, name in enumerate(("fit", "test")):
        (tmp_path / name).mkdir()
        start = START_NS + number * 1000 * 10**9
        paths[name] = edges_of(tmp_path / name, conversation(through_service(), http(), start), entities=ENTITIES).path
    spans = {
        "test": (paths["test"], START_S + 990.5, START_S + 1100.0),
        "fit": (paths["fit"], START_S - 10.0, START_S + 100.0),
    }
    rows = merge_edges(spans, tmp_path / "all.parquet")
    merged = pd.read_parquet(tmp_path / "all.parquet")
    assert rows == len(merged) == 12
    assert merged["recording"].tolist() == ["fit"] * 6 + ["test"] * 6
    keys = merged[["recording", "window_s", "window_start", "client", "server", "server_port", "proto", "view"]]
    assert keys.equals(keys.sort_values(list(keys.columns), ignore_index=True))
    merge_edges(dict(reversed(spans.items())), tmp_path / "again.parquet")
    assert (tmp_path / "again.parquet").read_bytes() == (tmp_path / "all.parquet").read_bytes()


def test_one_capture_cut_into_recordings_gives_each_row_to_one(tmp_path: Path) -> None:
    talk = [
        f for i in range(10) for f in conversation(directly(("10.244.1.5", 40_000 + i)), http(), START_NS + i * 10**10)
    ]
    whole = edges_of(tmp_path, talk)
    spans = {
        n: (whole.path, START_S + a, START_S + b)
        for n, a, b in (("fit", 0, 35), ("calibrate", 35, 65), ("test", 65, 100))
    }
    merge_edges(spans, tmp_path / "all.parquet")
    merged = pd.read_parquet(tmp_path / "all.parquet")
    for window_s in (1, 10, 60):
        part = merged[(merged["window_s"] == window_s) & (merged["view"] == "pod")]
        assert part["connections"].sum() == 10, window_s
    tens = merged[(merged["window_s"] == 10) & (merged["view"] == "pod")].groupby("recording")["connections"].sum()
    assert tens.to_dict() == {"fit": 4, "calibrate": 3, "test": 3}


def test_shards_add_up_in_any_order(tmp_path: Path) -> None:
    legs = [Leg(("10.0.0.1", 40_000 + i), POD, 3) for i in range(6)]
    talks = [
        datagrams([leg], [(True, b"q" * 9), (False, b"r" * 90)], START_NS + i * 10**9) for i, leg in enumerate(legs)
    ]
    parts = []
    for number in range(3):
        path = s.save(tmp_path / f"{number}.pcap", s.pcap([f for t in talks[number::3] for f in t], s.SLL2))
        parts.append(tmp_path / f"{number}.parquet")
        build_edges([path], None, [1, 10], "test", 300, parts[-1])
    whole = tmp_path / "whole.parquet"
    build_edges([tmp_path / f"{n}.pcap" for n in range(3)], None, [1, 10], "test", 300, whole)
    sum_edges(parts, tmp_path / "sum.parquet")
    sum_edges(parts[::-1], tmp_path / "mus.parquet")
    assert pd.read_parquet(tmp_path / "sum.parquet").equals(pd.read_parquet(whole))
    assert (tmp_path / "sum.parquet").read_bytes() == (tmp_path / "mus.parquet").read_bytes()
    assert sum(len(b) for b in open_capture(tmp_path)) == 12
