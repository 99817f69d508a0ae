"""Rows that are a little late are put in time order, in bounded memory, with their DNS messages."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mimir.capture import open_capture, reorder
from mimir.capture.batch import UDP, PacketBatch
from tests.capture import capture_samples as s

MS = 1_000_000
MESSAGES = [s.dns(f"host{i}.example") for i in range(40)]
FRAMES = [
    s.Frame(i * MS, s.ethernet(s.ipv4("10.0.0.1", "10.0.0.53", UDP, s.udp(5000 + i, 53 if i % 3 else 80, m))))
    for i, m in enumerate(MESSAGES)
]


def read(path: Path, frames: list[s.Frame], **options: int) -> list[PacketBatch]:
    return list(open_capture(s.save(path / "x.pcap", s.pcap(frames)), **options))  # type: ignore[arg-type]


def ports(batches: list[PacketBatch]) -> list[int]:
    return [p for b in batches for p in b.sport.tolist()]


def messages(batches: list[PacketBatch]) -> list[bytes]:
    pairs = ((b, int(o), int(n)) for b in batches for o, n in zip(b.dns_offset, b.dns_bytes, strict=True))
    return [b.data[o : o + n].tobytes() for b, o, n in pairs if o >= 0]


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 6), st.integers(1, 50), st.integers(0, 2**32 - 1))
def test_packets_up_to_the_bound_late_are_put_in_order(tmp_path: Path, late: int, batch_rows: int, seed: int) -> None:
    arrival = np.arange(40) + np.random.default_rng(seed).integers(0, late + 1, 40)
    frames = [FRAMES[i] for i in np.argsort(arrival, kind="stable")]
    batches = read(tmp_path, frames, reorder_ns=6 * MS, batch_rows=batch_rows)
    assert ports(batches) == list(range(5000, 5040))
    assert messages(batches) == [m for i, m in enumerate(MESSAGES) if i % 3]
    assert all(0 < len(b) <= batch_rows for b in batches)


def test_what_is_later_than_the_bound_stays_late(tmp_path: Path) -> None:
    frames = [*FRAMES[1:20], FRAMES[0], *FRAMES[20:]]
    assert ports(read(tmp_path, frames, reorder_ns=2 * MS, batch_rows=4))[0] == 5001
    assert sorted(ports(read(tmp_path, frames, reorder_ns=2 * MS, batch_rows=4))) == list(range(5000, 5040))


def test_what_is_held_back_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reorder, "MAX_HELD_ROWS", 5)
    capture = open_capture(s.save(tmp_path / "x.pcap", s.pcap(FRAMES)), reorder_ns=10**15, batch_rows=8)
    assert len(next(iter(capture))) == 3
    assert ports(list(capture)) == list(range(5000, 5040))


def test_without_a_bound_nothing_moves(tmp_path: Path) -> None:
    assert ports(read(tmp_path, [FRAMES[1], FRAMES[0]])) == [5001, 5000]
