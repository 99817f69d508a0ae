"""Damage: what is readable is used, the rest reported; nothing crashes, loops, or allocates by an attacker's number."""

from __future__ import annotations

import gzip
import struct
import tracemalloc
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mimir.capture import Capture, CaptureCounts, open_capture
from mimir.errors import CaptureError
from tests.capture import capture_samples as s

FRAMES = s.web_frames()
PCAP = s.pcap(FRAMES)
PCAPNG = s.section() + s.interface(tsresol=9) + b"".join(s.enhanced(f, f.ts_ns) for f in FRAMES)
PATIENT = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def read(path: Path) -> CaptureCounts:
    capture = open_capture(path, block_bytes=1024)
    rows = sum(len(batch) for batch in capture)
    counts = capture.counts
    assert counts.rows == rows
    assert counts.bytes == counts.row_bytes + sum(x.bytes for x in counts.skipped.values())
    assert counts.packets >= counts.rows
    counts.to_json()
    return counts


def test_a_file_cut_inside_a_record(tmp_path: Path) -> None:
    counts = read(s.save(tmp_path / "x", PCAP[:-10]))
    assert counts.rows == 19
    last = 24 + 19 * 70
    (damage,) = counts.damaged
    assert (damage.offset, damage.unread_bytes) == (last, 60)
    assert "ends inside a record (60 bytes" in damage.reason


def test_a_cut_gzip_stream(tmp_path: Path) -> None:
    noisy = s.pcap(
        [s.Frame(f.ts_ns, f.data + bytes((i * 37 + j * j) % 251 for j in range(300))) for i, f in enumerate(FRAMES)]
    )
    counts = read(s.save(tmp_path / "x.gz", gzip.compress(noisy)[:-300]))
    assert 0 < counts.rows < 20
    assert "damaged gzip stream" in counts.damaged[0].reason
    assert counts.damaged[0].unread_bytes is None


def test_an_impossible_length_ends_the_file_with_its_offset(tmp_path: Path) -> None:
    content = bytearray(PCAP)
    struct.pack_into("<I", content, 24 + 5 * 70 + 8, 0xFFFFFFF0)
    counts = read(s.save(tmp_path / "x", bytes(content)))
    assert counts.rows == 5
    assert [(d.offset, d.unread_bytes) for d in counts.damaged] == [(24 + 5 * 70, len(PCAP) - 24 - 5 * 70)]
    assert "length that cannot be" in counts.damaged[0].reason


def test_a_contradicting_packet_block_is_left_out_alone(tmp_path: Path) -> None:
    head = len(s.section() + s.interface(tsresol=9))
    size = len(s.enhanced(FRAMES[0], 0))
    content = bytearray(PCAPNG)
    struct.pack_into("<I", content, head + 2 * size + 20, 500)  # captured length beyond the block
    struct.pack_into("<I", content, head + 4 * size + 8, 9)  # no such interface
    counts = read(s.save(tmp_path / "x", bytes(content)))
    assert counts.rows == 18
    (skipped,) = counts.skipped.values()
    assert (skipped.packets, skipped.bytes, skipped.first_offset) == (2, 0, head + 2 * size)
    assert counts.damaged == []


def test_a_broken_block_length_ends_the_file(tmp_path: Path) -> None:
    head = len(s.section() + s.interface(tsresol=9))
    for number in (3, 0x7FFFFFF0, 0xFFFFFFFF):
        content = bytearray(PCAPNG)
        struct.pack_into("<I", content, head + 4, number)
        counts = read(s.save(tmp_path / "x", bytes(content)))
        assert counts.rows == 0
        assert counts.damaged[0].offset == head


def test_damage_after_the_first_section_keeps_what_came_before(tmp_path: Path) -> None:
    counts = read(s.save(tmp_path / "x", PCAPNG + b"\x0a\x0d\x0d\x0a" + bytes(40)))
    assert counts.rows == 20
    assert "byte-order magic" in counts.damaged[0].reason


def test_too_many_interfaces_do_not_fill_the_memory(tmp_path: Path) -> None:
    counts = read(s.save(tmp_path / "x", s.section() + s.interface() * 70_000 + s.enhanced(FRAMES[0], 5)))
    assert counts.rows == 0
    assert "interface block" in counts.damaged[0].reason


def test_a_claimed_size_is_not_allocated(tmp_path: Path) -> None:
    paths = [
        s.save(tmp_path / "a", PCAP[:24] + struct.pack("<IIII", 1, 1, 262_144, 262_144)),
        s.save(tmp_path / "b", PCAPNG + struct.pack("<II", 6, 0x7FFFFFFC)),
        s.save(tmp_path / "c", PCAPNG + struct.pack("<II", 0x0BAD, 0x7FFFFFFC)),
    ]
    for path in paths:
        list(open_capture(path))  # compiled and warm
        tracemalloc.start()
        list(open_capture(path))
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 32e6, path


def test_times_beyond_int64_are_missing_not_wrong(tmp_path: Path) -> None:
    parts = [
        s.section(),
        s.interface(tsresol=0),
        s.enhanced(FRAMES[0], 2**62),
        s.enhanced(FRAMES[1], 2**64 - 1),
        s.enhanced(FRAMES[2], 5),
    ]
    capture = open_capture(s.save(tmp_path / "x", b"".join(parts)))
    assert [t for b in capture for t in b.ts_ns.tolist()] == [5_000_000_000] * 3  # that of the first one with a time
    assert capture.counts.without_time == 2
    assert (capture.counts.first_ns, capture.counts.last_ns) == (5_000_000_000, 5_000_000_000)


@PATIENT
@given(st.lists(st.tuples(st.integers(24, len(PCAP) - 1), st.integers(0, 255)), max_size=20), st.integers(0, len(PCAP)))
def test_flipped_bytes_and_cuts_in_pcap(tmp_path: Path, flips: list[tuple[int, int]], cut: int) -> None:
    content = bytearray(PCAP)
    for at, value in flips:
        content[at] = value
    path = s.save(tmp_path / "x", bytes(content[: max(cut, 24)]))
    read(path)


@PATIENT
@given(
    st.lists(st.tuples(st.integers(0, len(PCAPNG) - 1), st.integers(0, 255)), max_size=20), st.integers(1, len(PCAPNG))
)
def test_flipped_bytes_and_cuts_in_pcapng(tmp_path: Path, flips: list[tuple[int, int]], cut: int) -> None:
    content = bytearray(PCAPNG)
    for at, value in flips:
        content[at] = value
    path = s.save(tmp_path / "x", bytes(content[:cut]))
    with suppress(CaptureError):  # a damaged head is no capture; anything else would fail here
        read(path)


@PATIENT
@given(st.binary(max_size=200), st.sampled_from([0, 1, 12, 101, 108, 113, 228, 229, 276]))
def test_any_bytes_as_a_frame(tmp_path: Path, data: bytes, linktype: int) -> None:
    counts = read(s.save(tmp_path / "x", s.pcap([s.Frame(1, data, 300)] * 2, linktype)))
    assert counts.packets == 2


@PATIENT
@given(st.binary(max_size=120), st.sampled_from([0x0800, 0x86DD]), st.integers(0, 255))
def test_any_bytes_behind_a_version_nibble(tmp_path: Path, data: bytes, ethertype: int, proto: int) -> None:
    head = b"\x45" if ethertype == 0x0800 else b"\x60"
    packet = bytearray(head + data)
    at = 9 if ethertype == 0x0800 else 6
    if len(packet) > at:
        packet[at] = proto
    counts = read(s.save(tmp_path / "x", s.pcap([s.Frame(1, s.ethernet(bytes(packet), ethertype))])))
    assert counts.packets == 1


@pytest.mark.parametrize("linktype", [0, 1, 101, 108, 113, 228, 229, 276])
def test_every_prefix_of_a_frame(tmp_path: Path, linktype: int) -> None:
    packet = s.ipv6("::1", "::2", 0, bytes([44, 0] + [0] * 6) + bytes([6, 0, 0, 1, 0, 0, 0, 9]) + s.tcp(1, 2) + b"abc")
    heads = {
        0: b"\x1e\0\0\0",
        1: s.ethernet(b"", 0x86DD),
        108: b"\0\0\0\x1e",
        113: s.sll(b"", 0x86DD),
        276: s.sll2(b"", 0x86DD),
    }
    frame = heads.get(linktype, b"") + packet
    counts = read(
        s.save(tmp_path / "x", s.pcap([s.Frame(1, frame[:n], len(frame)) for n in range(len(frame) + 1)], linktype))
    )
    assert counts.packets == len(frame) + 1
    assert counts.rows == len(frame) + 1 - len(heads.get(linktype, b"")) - 40


def test_an_interface_number_beyond_31_bits_stays_a_number(tmp_path: Path) -> None:
    """Found by fuzzing: it became negative, which means that the capture does not say."""
    frame = s.Frame(1, s.sll2(s.ipv4("10.0.0.1", "10.0.0.2", 6, s.tcp(1, 2)), ifindex=0xFFFFFF01))
    capture = open_capture(s.save(tmp_path / "x.pcap", s.pcap([frame], s.SLL2)))
    assert isinstance(capture, Capture)
    (batch,) = capture
    assert [capture.interfaces.taken[number] for number in batch.ifindex.tolist()] == [0x7FFFFF01]
