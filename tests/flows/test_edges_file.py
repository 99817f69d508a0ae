"""edges.parquet: the contract, bytes in = bytes out, independence of batches, bounded memory."""

from __future__ import annotations

import hashlib
import random
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mimir.capture import open_capture
from mimir.capture.batch import ACK, RST, SYN, PacketBatch
from mimir.errors import CaptureError, MimirError
from mimir.flows import build_edges, settle, write
from mimir.flows.connections import ConnectionTracker
from mimir.flows.edges import COUNTERS, KEY_COLUMNS
from mimir.flows.identity import Identity, from_events
from tests.capture import capture_samples as s
from tests.flows.flow_samples import (
    CLIENT,
    ENTITIES,
    NODE,
    POD,
    START_NS,
    START_S,
    Leg,
    Step,
    conversation,
    datagrams,
    directly,
    edges_of,
    http,
    through_service,
)

SHAPES = [
    lambda rng: through_service((CLIENT[0], rng.randrange(32_768, 32_800))),
    lambda rng: directly((CLIENT[0], rng.randrange(32_768, 32_800)), (f"10.244.3.{rng.randrange(1, 5)}", 3306)),
    lambda rng: [
        Leg((f"203.0.113.{rng.randrange(1, 9)}", rng.randrange(2000, 2010)), (NODE, 30_001), 2),
        Leg(CLIENT, POD, 12, 4),
    ][:1],
    lambda rng: [
        Leg((POD[0], rng.randrange(40_000, 40_010)), ("198.51.100.7", 443), 12),
        Leg((NODE, 33_000), ("198.51.100.7", 443), 2, 4),
    ],
]


def traffic(seed: int, conversations: int = 25) -> list[s.Frame]:
    """A mix of conversations of all shapes: overlapping, torn, repeated, reordered, with ports used again."""
    rng = random.Random(seed)
    frames: list[s.Frame] = []
    for _ in range(conversations):
        at = START_NS + rng.randrange(100 * 10**9)
        legs = rng.choice(SHAPES)(rng)
        if rng.random() < 0.2:
            frames += datagrams(
                legs, [(rng.random() < 0.6, s.dns("a" * rng.randrange(1, 30))) for _ in range(3)], at, rng.randrange(3)
            )
            continue
        steps = http([(rng.randrange(2000), rng.randrange(6000)) for _ in range(rng.randrange(4))], rng.random() < 0.7)
        steps = [Step(x.from_client, x.payload, x.flags, x.back, rng.choice([10**5, 10**8, 8 * 10**9])) for x in steps]
        if rng.random() < 0.3:
            steps.append(Step(True, flags=rng.choice([RST, SYN, ACK])))
        talk = conversation(legs, steps, at, (rng.randrange(2**32), rng.randrange(2**32)))
        frames += [f for f in talk if rng.random() < 0.97]
    frames.sort(key=lambda f: f.ts_ns + rng.randrange(3_000_000))
    return frames


def batches_of(path: Path, sizes: int) -> list[PacketBatch]:
    return list(open_capture(path, batch_rows=sizes))


def edges_from(batches: list[PacketBatch], folder: Path, **limits: Any) -> tuple[bytes, ConnectionTracker]:
    tracker = ConnectionTracker(from_events(ENTITIES), 1, 20, **limits)
    for batch in batches:
        tracker.add(batch)
    write.write_edges(tracker.finish(), [1, 10, 60], "test", folder / "e.parquet")
    return (folder / "e.parquet").read_bytes(), tracker


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 10**6), st.integers(1, 300))
def test_any_batch_size_gives_the_same_edges_and_no_byte_is_lost(tmp_path: Path, seed: int, sizes: int) -> None:
    path = s.save(tmp_path / "x.pcap", s.pcap(traffic(seed), s.SLL2))
    whole = batches_of(path, 1 << 15)
    wanted, tracker = edges_from(whole, tmp_path)
    assert edges_from(batches_of(path, sizes), tmp_path)[0] == wanted
    table = pd.read_parquet(tmp_path / "e.parquet")
    packets_in = sum(len(b) for b in whole)
    bytes_in = sum(int(b.ip_bytes.sum()) for b in whole)
    copies = tracker.copies().values()
    for _, part in table.groupby(["window_s", "view"]):
        assert part["request_bytes"].sum() + part["response_bytes"].sum() + sum(c["bytes"] for c in copies) == bytes_in
        assert (
            part["request_packets"].sum() + part["response_packets"].sum() + sum(c["packets"] for c in copies)
            == packets_in
        )


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 10**6))
def test_views_and_window_lengths_agree(tmp_path: Path, seed: int) -> None:
    result = edges_of(tmp_path, traffic(seed), entities=ENTITIES, shuffled=True)
    sums = result.table.groupby(["window_s", "view"])[list(COUNTERS)].sum()
    assert len(sums) == 6
    assert (sums == sums.iloc[0]).all(axis=None)


def test_the_file_keeps_its_contract(tmp_path: Path) -> None:
    result = edges_of(tmp_path, traffic(3), entities=ENTITIES, windows_s=[60, 1, 10])
    table = result.table
    assert list(table.columns) == ["recording", *KEY_COLUMNS, *COUNTERS]
    assert table["recording"].unique().tolist() == ["test"]
    keys = table[["recording", *KEY_COLUMNS]]
    assert keys.equals(keys.sort_values(list(keys.columns), ignore_index=True))
    assert not keys.duplicated().any()
    assert (table["window_start"] % table["window_s"] == 0).all()
    assert set(table["window_s"]) == {1, 10, 60}
    assert set(table["view"]) == {"pod", "service"}
    assert all(pq.read_schema(result.path).field(name).type == "int64" for name in COUNTERS)
    assert pq.read_schema(result.path).field("client").type == "string"
    assert result.report.rows == len(table)


def test_the_same_capture_gives_the_same_bytes(tmp_path: Path) -> None:
    digests = set()
    for _ in range(2):
        digests.add(hashlib.sha256(edges_of(tmp_path, traffic(5), entities=ENTITIES).path.read_bytes()).hexdigest())
    assert len(digests) == 1


def test_large_tables_are_cut_between_windows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = edges_of(tmp_path, traffic(8, 60), entities=ENTITIES).table
    monkeypatch.setattr(write, "SLICE_ROWS", 7)
    assert edges_of(tmp_path, traffic(8, 60), entities=ENTITIES).table.equals(whole)


def test_windows_that_do_not_divide_each_other(tmp_path: Path) -> None:
    frames = traffic(11)
    odd = edges_of(tmp_path, frames, windows_s=[4, 6]).table
    for window_s in (4, 6):
        alone = edges_of(tmp_path, frames, windows_s=[window_s]).table
        assert odd[odd["window_s"] == window_s].reset_index(drop=True).equals(alone)


def test_times_before_the_epoch_fall_into_their_window(tmp_path: Path) -> None:
    identity, ends = (
        Identity(),
        (np.array([[0, 0xFFFF0A000001]], np.uint64), np.array([[0, 0xFFFF0A000002]], np.uint64)),
    )
    (batch,) = open_capture(
        s.save(tmp_path / "x", s.pcap([s.Frame(5, s.sll2(s.ipv4("10.0.0.1", "10.0.0.2", 1, bytes(8))))], s.SLL2))
    )
    early = PacketBatch(
        **{n: getattr(batch, n) for n in PacketBatch.__slots__}
        | {"ts_ns": np.array([-1]), "src": ends[0], "dst": ends[1]}
    )
    tracker = ConnectionTracker(identity, 10, 300)
    tracker.add(early)
    assert tracker.finish().cells[:, settle.WINDOW].tolist() == [-1]


def test_connections_beyond_the_limit_are_forgotten_not_lost(tmp_path: Path) -> None:
    talks = [
        conversation(directly((CLIENT[0], 33_000 + i)), http([(10, 10)], False), START_NS + i * 10**8)
        for i in range(300)
    ]
    frames = sorted((f for t in talks for f in t), key=lambda f: f.ts_ns)
    batches = batches_of(s.save(tmp_path / "x.pcap", s.pcap(frames, s.SLL2)), 1000)
    _, roomy = edges_from(batches, tmp_path)
    wanted = pd.read_parquet(tmp_path / "e.parquet")
    _, tight = edges_from(batches, tmp_path, max_connections=64)
    found = pd.read_parquet(tmp_path / "e.parquet")
    assert roomy.evicted_early() == 0
    assert tight.evicted_early() > 0
    assert found.equals(wanted)


def test_more_open_connections_than_allowed_at_once(tmp_path: Path) -> None:
    talks = [
        conversation([Leg((CLIENT[0], 33_000 + i), POD, 3)], http([(10, 10)], False), START_NS + i) for i in range(300)
    ]
    frames = sorted((f for t in talks for f in t), key=lambda f: f.ts_ns)
    batches = batches_of(s.save(tmp_path / "x.pcap", s.pcap(frames, s.SLL2)), 1000)
    edges_from(batches, tmp_path)
    wanted = pd.read_parquet(tmp_path / "e.parquet")
    _, tight = edges_from(batches, tmp_path, max_connections=64)
    found = pd.read_parquet(tmp_path / "e.parquet")
    assert tight.evicted_early() > 200
    for counter in ("request_bytes", "response_bytes", "request_packets", "response_packets"):
        assert found[counter].tolist() == wanted[counter].tolist()


def test_an_empty_capture_gives_an_empty_table(tmp_path: Path) -> None:
    result = edges_of(tmp_path, [], entities=ENTITIES)
    assert len(result.table) == 0
    assert list(result.table.columns) == ["recording", *KEY_COLUMNS, *COUNTERS]
    assert result.report.to_json()["packets"] == 0


def test_the_report_says_what_was_read_and_removed(tmp_path: Path) -> None:
    frames = [*conversation(through_service(), http()), s.Frame(START_NS, s.sll2(s.ARP, 0x0806))]
    told = edges_of(tmp_path, frames, entities=ENTITIES).report.to_json()
    assert (told["packets"], told["rows"], told["protocols"]["arp"]) == (25, 24, 1)
    assert told["copies_removed"]["service_address"]["packets"] == 12
    assert told["skipped"]["not IP"]["packets"] == 1


def test_mistakes_are_named(tmp_path: Path) -> None:
    capture = s.save(tmp_path / "x.pcap", s.pcap([]))
    bad = s.save(tmp_path / "entities.jsonl", b'{"kind": "pod"}\n')
    out = tmp_path / "edges.parquet"
    with pytest.raises(MimirError, match=r"entities\.jsonl, entry 1: KeyError"):
        build_edges([capture], bad, [60], "test", 300, out)
    with pytest.raises(MimirError, match="whole seconds >= 1"):
        build_edges([capture], None, [], "test", 300, out)
    with pytest.raises(CaptureError, match="not a pcap"):
        build_edges([bad], None, [60], "test", 300, out)
    assert not out.exists()
    assert [p.name for p in tmp_path.iterdir()] == ["x.pcap", "entities.jsonl"] or len(list(tmp_path.iterdir())) == 2


def test_start_is_aligned() -> None:
    assert START_S % 60 == 0
