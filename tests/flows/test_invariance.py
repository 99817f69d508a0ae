"""However a capture is cut, packed, spread over nodes and worked on, its edges are the same and every byte is told."""

from __future__ import annotations

import gzip
import random
import shutil
from dataclasses import replace
from itertools import chain, pairwise
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mimir.capture import open_capture
from mimir.engine import JoblibEngine
from mimir.files import write_jsonl
from mimir.flows import build_edges
from mimir.flows.build import EdgeReport
from tests.capture import capture_samples as s
from tests.flows.flow_samples import CLIENT, ENTITIES, POD, START_NS, Leg, conversation, http, through_service
from tests.flows.test_edges_file import traffic

SETTINGS = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def edges(folder: Path, captures: list[Path], **options: Any) -> tuple[bytes, EdgeReport]:
    log, out = folder / "entities.jsonl", folder / "edges.parquet"
    write_jsonl(log, ENTITIES)
    report = build_edges(captures, log, [1, 10, 60], "test", 20, out, **options)
    return out.read_bytes(), report


def empty(folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    return folder


def in_time_order(seed: int) -> list[s.Frame]:
    frames = sorted(traffic(seed), key=lambda f: f.ts_ns)
    return [*frames[:9], s.Frame(frames[9].ts_ns, s.sll2(s.ARP, 0x0806)), *frames[9:]]


@SETTINGS
@given(st.integers(0, 10**6), st.lists(st.floats(0, 1), max_size=5), st.integers(1, 4), st.sampled_from([0, 1, 2]))
def test_any_cut_into_files_and_any_workers(
    tmp_path: Path, seed: int, cuts: list[float], workers: int, packed: int
) -> None:
    """`packed`: none, every other or all of the files are compressed; an engine decodes them elsewhere."""
    frames = in_time_order(seed)
    whole = s.save(tmp_path / "whole.pcap", s.pcap(frames, s.SLL2))
    wanted, report = edges(tmp_path, [whole])
    folder = empty(tmp_path / "parts")
    places = [0, *sorted(round(c * len(frames)) for c in cuts), len(frames)]
    for number, (a, b) in enumerate(pairwise(places)):
        content = s.pcap(frames[a:b], s.SLL2)
        name = f"x{number}.pcap" + (".gz" if packed == 2 or (packed and number % 2) else "")
        s.save(folder / name, gzip.compress(content, 1) if name.endswith(".gz") else content)
    found, parts = edges(tmp_path, [folder], workers=workers, reorder_ns=0)
    elsewhere, again = edges(tmp_path, [folder], workers=workers, engine=JoblibEngine(1))
    assert found == elsewhere == wanted
    assert parts.copies == report.copies
    assert again.to_json() == parts.to_json()
    counts = parts.capture.to_json() | {"files": 1}
    skipped = counts.pop("skipped")
    assert {**counts, "skipped": None} == {**report.capture.to_json(), "skipped": None}
    assert (skipped["not IP"]["packets"], parts.capture.packets) == (1, len(frames))
    assert parts.capture.bytes == parts.capture.row_bytes + skipped["not IP"]["bytes"] == sum(f.wire for f in frames)
    table = pq.read_table(tmp_path / "edges.parquet")
    ip_bytes = sum(int(b.ip_bytes.sum()) for b in open_capture(whole))
    counted = sum(sum(table[name].to_pylist()) for name in ("request_bytes", "response_bytes"))
    assert counted + 6 * sum(c["bytes"] for c in parts.copies.values()) == 6 * ip_bytes  # 3 lengths, 2 views


@SETTINGS
@given(st.integers(0, 10**6), st.integers(1, 4), st.integers(1, 2))
def test_conversations_spread_over_nodes_give_the_edges_of_one_recorder(
    tmp_path: Path, seed: int, nodes: int, workers: int
) -> None:
    rng = random.Random(seed)
    talks = [
        conversation(through_service((CLIENT[0], 40_000 + i)), http(), START_NS + i * 3_000_001, (i * 10**6, i))
        for i in range(12)
    ]
    whole = s.save(tmp_path / "whole.pcap", s.pcap(sorted(chain(*talks), key=lambda f: f.ts_ns), s.SLL2))
    wanted, report = edges(tmp_path, [whole])
    folder, at = empty(tmp_path / "parts"), [rng.randrange(nodes) for _ in talks]
    for node in range(nodes):
        mine = sorted((f for talk, n in zip(talks, at, strict=True) if n == node for f in talk), key=lambda f: f.ts_ns)
        (folder / f"node-{node}").mkdir()
        s.save(folder / f"node-{node}" / "any.pcap", s.pcap(mine, s.SLL2))
    found, merged = edges(tmp_path, [folder], workers=workers)
    assert found == wanted
    assert merged.copies == report.copies
    assert sum(node["packets"] for node in merged.nodes.values()) == merged.capture.packets == report.capture.packets


@pytest.mark.parametrize("link", [s.SLL2, s.SLL, s.ETHERNET])
@pytest.mark.parametrize("skew_ns", [-400_000_000, -30_000, 0, 400_000, 400_000_000])
def test_a_packet_seen_on_two_nodes_counts_once(tmp_path: Path, link: int, skew_ns: int) -> None:
    """Both ends record the same interface number; the clocks of the nodes differ."""
    frames = conversation([Leg(CLIENT, POD, 3)], http(), link=link)
    wanted, _ = edges(tmp_path, [s.save(tmp_path / "x.pcap", s.pcap(frames, link))])
    folder = empty(tmp_path / "nodes")
    later = [replace(f, ts_ns=f.ts_ns + skew_ns) for f in frames]
    for name, seen in (("node-1", frames), ("node-2", later)):
        (folder / name).mkdir()
        s.save(folder / name / "any.pcap", s.pcap(seen, link))
    _, report = edges(tmp_path, [folder])
    table = pq.read_table(tmp_path / "edges.parquet")
    assert report.copies["node"]["packets"] == len(frames)
    assert sum(table["request_packets"].to_pylist() + table["response_packets"].to_pylist()) == 6 * len(frames)
    if skew_ns == 0:
        assert (tmp_path / "edges.parquet").read_bytes() == wanted
    assert report.to_json()["nodes"]["node-2"]["packets"] == len(frames)
