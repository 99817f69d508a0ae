"""Captures decoded by an engine's workers give the same batches and the same counts, also where files overlap in time."""

from __future__ import annotations

import gzip
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest

from mimir.capture import open_capture
from mimir.capture.batch import PacketBatch
from mimir.capture.spool import decode_elsewhere
from mimir.engine import JoblibEngine
from mimir.errors import CaptureError
from tests.capture import capture_samples as s

NOW_NS = 1_700_000_000_000_000_000


def frames(first: int, count: int) -> list[s.Frame]:
    """Packets of a service and questions to a name server, a millisecond apart."""
    query = s.ipv4("10.0.0.1", "10.0.0.9", 17, s.udp(40_000, 53, s.dns("a.example.org")))
    packet = s.ipv4("10.0.0.1", "10.0.0.2", 6, s.tcp(40_000, 80, 1, 0, 0x02, bytes(4)))
    return [s.Frame(NOW_NS + n * 10**6, s.ethernet(query if n % 3 else packet)) for n in range(first, first + count)]


def packed(folder: Path, parts: list[list[s.Frame]]) -> Path:
    folder.mkdir(parents=True)
    for number, part in enumerate(parts):
        s.save(folder / f"x{number}.pcap.gz", gzip.compress(s.pcap(part, s.ETHERNET), 1))
    return folder


@pytest.mark.parametrize("starts", [(0, 40, 80), (0, 20, 50), (0, 0, 0)])
def test_the_same_batches_and_counts(tmp_path: Path, starts: tuple[int, ...]) -> None:
    folder = packed(tmp_path / "x", [frames(start, 40) for start in starts])
    plain = open_capture(folder, batch_rows=16)
    wanted = list(plain)
    spools = decode_elsewhere(plain.paths, tmp_path, JoblibEngine(1))
    assert len(spools) == 3
    elsewhere = open_capture(folder, batch_rows=16, spools=spools)
    for column in fields(PacketBatch):
        if column.name not in ("data", "dns_offset"):
            one, other = (np.concatenate([getattr(b, column.name) for b in bs]) for bs in (wanted, list(elsewhere)))
            assert np.array_equal(one, other), column.name
    assert elsewhere.counts.to_json() == plain.counts.to_json()
    assert (plain.counts.out_of_order > 0) == (starts != (0, 40, 80))


def test_nodes_are_merged_alike(tmp_path: Path) -> None:
    for node in range(2):
        late = [replace(f, ts_ns=f.ts_ns + node * 1000) for f in frames(0, 60)]
        packed(tmp_path / "nodes" / f"n{node}", [late[:30], late[30:]])
    plain = open_capture(tmp_path / "nodes")
    wanted = np.concatenate([b.ts_ns for b in plain])
    elsewhere = open_capture(tmp_path / "nodes", spools=decode_elsewhere(plain.paths, tmp_path, JoblibEngine(1)))
    assert np.array_equal(np.concatenate([b.ts_ns for b in elsewhere]), wanted)
    assert elsewhere.counts.to_json() == plain.counts.to_json()


def test_what_needs_no_unpacking_is_left_alone(tmp_path: Path) -> None:
    one = s.save(tmp_path / "a.pcap", s.pcap(frames(0, 4), s.ETHERNET))
    two = s.save(tmp_path / "b.pcap.gz", gzip.compress(s.pcap(frames(4, 4), s.ETHERNET)))
    assert decode_elsewhere([one, two, Path("-")], tmp_path, JoblibEngine(1)) == {}


def test_a_packed_file_that_is_no_capture_is_an_error(tmp_path: Path) -> None:
    bad = [s.save(tmp_path / f"{n}.pcap.gz", gzip.compress(b"no capture at all, but long enough")) for n in range(2)]
    with pytest.raises(CaptureError, match=r"0\.pcap\.gz"):
        decode_elsewhere(bad, tmp_path, JoblibEngine(1))
