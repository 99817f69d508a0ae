"""Classic pcap and pcapng in all their variants give the same rows; sets of files come in order."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mimir.capture import open_capture
from mimir.capture.batch import PacketBatch
from mimir.errors import CaptureError
from tests.capture import capture_samples as s

FRAMES = s.web_frames()
TIMES = [f.ts_ns for f in FRAMES]


def rows(path: Path, **options: int) -> dict[str, Any]:
    """All batches as plain lists."""
    batches = list(open_capture(path, **options))
    names = [n for n in PacketBatch.__slots__ if n not in ("data", "dns_offset")]
    return {n: np.concatenate([getattr(b, n) for b in batches]).tolist() if batches else [] for n in names}


@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize(("ns", "modified"), [(True, False), (False, False), (False, True)])
def test_pcap_variants(tmp_path: Path, big: bool, ns: bool, modified: bool) -> None:
    found = rows(s.save(tmp_path / "x", s.pcap(FRAMES, big=big, ns=ns, modified=modified)))
    assert found["ts_ns"] == TIMES
    assert found["payload_bytes"] == list(range(20))
    assert found["frame_bytes"] == [f.wire for f in FRAMES]
    assert found["src"][0] == [0, 0xFFFF0A000001]
    assert found["dport"] == [80] * 20
    assert found["ifindex"] == [-1] * 20
    assert found["direction"] == [255] * 20


def test_old_versions_swap_the_lengths(tmp_path: Path) -> None:
    content = bytearray(s.pcap(FRAMES))
    struct.pack_into("<HH", content, 4, 2, 2)
    at = 24
    for f in FRAMES:
        struct.pack_into("<II", content, at + 8, f.wire, len(f.data))
        at += 16 + len(f.data)
    assert rows(s.save(tmp_path / "x", bytes(content)))["frame_bytes"] == [f.wire for f in FRAMES]


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(
    ("tsresol", "offset_s", "per_s"),
    [(None, None, 10**6), (6, None, 10**6), (9, None, 10**9), (3, None, 10**3), (12, None, 10**12), (0x80 | 20, 10, 2**20),
     (0x80 | 40, -5, 2**40)],
)  # fmt: skip
def test_pcapng_resolutions(tmp_path: Path, order: str, tsresol: int | None, offset_s: int | None, per_s: int) -> None:
    seconds = 1_700_000 if per_s > 10**9 else 1_700_000_000
    frames = [s.Frame(seconds * 10**9 + i * 125_000_000, f.data, f.wire) for i, f in enumerate(FRAMES)]
    parts = [s.section(order), s.interface(s.ETHERNET, order, tsresol, offset_s)]
    parts += [s.enhanced(f, f.ts_ns * per_s // 10**9, 0, order) for f in frames]
    found = rows(s.save(tmp_path / "x", b"".join(parts)))
    assert found["ts_ns"] == [f.ts_ns + (offset_s or 0) * 10**9 for f in frames]
    assert found["payload_bytes"] == list(range(20))
    assert found["ifindex"] == [0] * 20


def test_pcapng_sections_interfaces_and_foreign_blocks(tmp_path: Path) -> None:
    one, two, three, four = FRAMES[:4]
    raw = s.Frame(0, three.data[14:])
    obsolete = struct.pack(">HHIIII", 0, 3, two.ts_ns // 1000 >> 32, two.ts_ns // 1000 & 0xFFFFFFFF, 54, two.wire)
    parts = [
        s.section("<"), s.interface(), s.interface(s.RAW, tsresol=9),
        s.block(5, bytes(20)), s.block(0x80000001, bytes(70_000)),
        s.enhanced(one, one.ts_ns // 1000), s.enhanced(raw, three.ts_ns, 1),
        s.section(">"), s.interface(order=">"),
        s.block(2, obsolete + two.data + bytes(2), ">"),
        s.block(3, struct.pack(">I", 54) + four.data + bytes(2), ">"),
    ]  # fmt: skip
    capture = open_capture(s.save(tmp_path / "x", b"".join(parts)), block_bytes=4096)
    batches = list(capture)
    assert [t for b in batches for t in b.ts_ns.tolist()] == [one.ts_ns, three.ts_ns, two.ts_ns, two.ts_ns]
    assert [i for b in batches for i in b.ifindex.tolist()] == [0, 1, 0, 0]
    assert capture.counts.packets == 4
    assert capture.counts.without_time == 1
    assert capture.counts.link_types == {"EN10MB": 3, "RAW": 1}
    assert capture.counts.damaged == []


def test_simple_packets_are_cut_at_the_snaplen(tmp_path: Path) -> None:
    long = FRAMES[0].data + bytes(100)
    body = struct.pack("<I", len(long)) + long[:60]
    content = s.section() + s.interface(snaplen=60) + s.enhanced(FRAMES[0], 1) + s.block(3, body)
    found = open_capture(s.save(tmp_path / "x", content))
    assert [len(b) for b in found] == [2]
    assert (found.counts.captured_bytes, found.counts.bytes) == (60 + 54, 154 + 54)


def test_gzip_is_read_by_content_not_by_name(tmp_path: Path) -> None:
    assert rows(s.save(tmp_path / "x.pcap", gzip.compress(s.pcap(FRAMES))))["ts_ns"] == TIMES
    ng = s.section() + s.interface(tsresol=9) + b"".join(s.enhanced(f, f.ts_ns) for f in FRAMES)
    assert rows(s.save(tmp_path / "y.pcapng.gz", gzip.compress(ng)))["ts_ns"] == TIMES


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(64, 5000), st.integers(1, 30), st.booleans())
def test_blocks_and_batches_change_nothing(tmp_path: Path, block_bytes: int, batch_rows: int, ng: bool) -> None:
    if ng:
        content = s.section() + s.interface(tsresol=9) + b"".join(s.enhanced(f, f.ts_ns) for f in FRAMES)
    else:
        content = s.pcap(FRAMES)
    path = s.save(tmp_path / "x", content)
    wanted = rows(path)
    assert rows(path, block_bytes=block_bytes, batch_rows=batch_rows) == wanted
    assert all(len(b) <= batch_rows for b in open_capture(path, batch_rows=batch_rows))


def test_a_record_longer_than_the_buffer(tmp_path: Path) -> None:
    frame = s.Frame(5, FRAMES[0].data + bytes(200_000))
    assert rows(s.save(tmp_path / "x", s.pcap([frame, *FRAMES])), block_bytes=128)["ts_ns"] == [5, *TIMES]


def test_rotated_files_come_in_order_of_their_first_packets(tmp_path: Path) -> None:
    for number, start in ((10, 15), (9, 10), (1, 5), (2, 0)):  # a ring buffer that has wrapped around
        s.save(tmp_path / f"any.pcap{number}", s.pcap(FRAMES[start : start + 5]))
    s.save(tmp_path / "notes.txt", b"not a capture")
    s.save(tmp_path / "empty.pcap", s.pcap([]))
    for source in (tmp_path, str(tmp_path / "*.pcap*"), sorted(tmp_path.glob("*.pcap*"))):
        capture = open_capture(source)
        assert [t for b in capture for t in b.ts_ns.tolist()] == TIMES
        assert (capture.counts.files, capture.counts.packets) == (5, 20)


def test_dns_messages_are_kept_with_the_batch(tmp_path: Path) -> None:
    messages = [s.dns(f"host{i}.example") for i in range(10)]
    frames = [
        s.Frame(i, s.ethernet(s.ipv4("10.0.0.1", "10.0.0.53", 17, s.udp(5000 + i, 53, m))))
        for i, m in enumerate(messages)
    ]
    batches = list(open_capture(s.save(tmp_path / "x", s.pcap(frames)), batch_rows=4, block_bytes=200))
    found = [b.data[o : o + n].tobytes() for b in batches for o, n in zip(b.dns_offset, b.dns_bytes, strict=True)]
    assert found == messages


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "the file is empty"),
        (b"file,sha256\n", "not a pcap or pcapng file (it begins with 66 69 6c 65)"),
        (b"\xd4\xc3\xb2\xa1\x02\x00", "the pcap file header needs 24 bytes, 6 are there"),
        (struct.pack("<IHHiIII", 0xA1B2C3D4, 1, 4, 0, 0, 9, 1), "pcap version 1.4 is not supported (2.x is)"),
        (struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 9, 0x00300000), "the reserved bits"),
        (b"\x0a\x0d\x0d\x0a" + bytes(24), "bad byte-order magic"),
        (s.section()[:-4] + bytes(4), "the lengths at both ends"),
        (s.block(0x0A0D0D0A, struct.pack("<IHHq", 0x1A2B3C4D, 3, 0, -1)), "pcapng version 3.0 is not supported"),
        (gzip.compress(s.pcap(FRAMES), mtime=0)[:15], "damaged gzip stream"),
    ],
)  # fmt: skip
def test_what_is_no_capture_is_one_clear_error(tmp_path: Path, content: bytes, reason: str) -> None:
    path = s.save(tmp_path / "x.pcap", content)
    with pytest.raises(CaptureError) as caught:
        list(open_capture(path))
    assert reason in str(caught.value)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("sizes", [{"batch_rows": 0}, {"block_bytes": -1}])
def test_sizes_must_be_positive(tmp_path: Path, sizes: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="must be > 0"):
        open_capture(s.save(tmp_path / "x", s.pcap(FRAMES)), **sizes)


def test_missing_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(CaptureError, match="no such file, folder or pattern"):
        open_capture(tmp_path / "nowhere.pcap")
    with pytest.raises(CaptureError, match=r"holds no file named \*\.pcap"):
        open_capture(tmp_path)
