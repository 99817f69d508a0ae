"""What a capture claims and cannot be: lengths beyond the frame, times at the edge of 64 bits, none at all, huge interface numbers."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest

from mimir.capture import open_capture
from mimir.capture.__main__ import main
from mimir.capture.application import OWN_FIELDS, Dissection, application_fields
from mimir.capture.batch import PacketBatch
from mimir.capture.pcapng import NO_TIME, binary_to_ns
from tests.capture import capture_samples as s

UDP = s.udp(1, 2, b"abc")
START_NS = 1_700_000_000_123_456_789


def read(path: Path) -> PacketBatch:
    (batch,) = open_capture(path)
    return batch


def test_no_more_bytes_than_the_frame_had_are_believed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    frames = [
        s.Frame(0, s.ethernet(s.ipv4("10.0.0.1", "10.0.0.2", 17, UDP, wire=65_515))),
        s.Frame(1, s.ethernet(s.ipv6("::1", "::2", 17, UDP, wire=60_000), 0x86DD)),
        s.Frame(2, s.ethernet(s.ipv4("10.0.0.1", "10.0.0.2", 17, UDP, wire=500)), 534),  # cut by the snaplen
        s.Frame(3, s.ethernet(s.ipv4("10.0.0.1", "10.0.0.2", 17, UDP, wire=-20)), 45),  # total length 0: offload
        s.Frame(
            4, s.ethernet(s.ipv4("10.0.0.1", "10.0.0.2", 17, UDP)), 10
        ),  # the frame's own length is no less than that
    ]
    path = s.save(tmp_path / "x.pcap", s.pcap(frames))
    batch = read(path)
    assert batch.ip_bytes.tolist() == [31, 51, 520, 31, 31]
    assert batch.payload_bytes.tolist() == [3, 3, 492, 3, 3]
    capture = open_capture(path)
    assert len(list(capture)) == 1
    assert capture.counts.longer_than_frame == 2
    assert main(["inspect", str(path)]) == 0
    assert "2 packets whose IP header claims more bytes than their frame had" in capsys.readouterr().out


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(
    ("tsresol", "units"),
    [(0, 1), (10, 10**10), (19, 10**10 * 10**9), (0x80, 1), (0xA0, 2**32), (0xA1, 2**33), (0xBF, 2**63), (0xC0, 2**64),
     (0xD0, 2**80), (0xFF, 2**127), (27, 10**27), (40, 10**40)],
)  # fmt: skip
def test_every_resolution_is_read_as_far_as_64_bits_reach(tmp_path: Path, order: str, tsresol: int, units: int) -> None:
    most = 2**64 - 1
    stamps = [min(START_NS * units // 10**9, most), min(units, most) // 3, most // 3 if units > 2**33 else 12345]
    frame = s.Frame(0, s.ethernet(s.ipv4("10.0.0.1", "10.0.0.2", 17, UDP)))
    blocks = [
        s.section(order),
        s.interface(s.ETHERNET, order, tsresol),
        *(s.enhanced(frame, x, 0, order) for x in stamps),
    ]
    batch = read(s.save(tmp_path / "x.pcapng", b"".join(blocks)))
    assert batch.ts_ns.tolist() == [x * 10**9 // units for x in stamps]


def test_times_beyond_all_clocks_are_none() -> None:
    assert binary_to_ns(2**32 - 1, 0, 0) == binary_to_ns(2, 2**31, 0) == binary_to_ns(2**32 - 1, 2**32 - 1, 30) == -1
    assert binary_to_ns(2**32 - 1, 2**32 - 1, 33) == (2**64 - 1) * 10**9 >> 33


def simple(frame: bytes) -> bytes:
    return s.block(3, struct.pack("<I", len(frame)) + frame)


def test_packets_before_the_first_time_take_that_one(tmp_path: Path) -> None:
    one, two = (s.ethernet(s.ipv4("10.0.0.1", "10.0.0.2", 17, s.udp(port, 53, s.dns("a.example")))) for port in (1, 2))
    timed = s.enhanced(s.Frame(0, s.ethernet(s.ARP, 0x0806)), START_NS)
    for last in (
        s.enhanced(s.Frame(0, two), START_NS + 5),
        b"",
    ):  # the first time may be that of a packet without a row
        head = s.section() + s.interface(tsresol=9)
        path = s.save(tmp_path / "x.pcapng", head + simple(one) * 2 + timed + last)
        for rows in (1, 100):
            capture = open_capture(path, batch_rows=rows)
            times = np.concatenate([b.ts_ns for b in capture]).tolist()
            assert times == [START_NS, START_NS, *([START_NS + 5] if last else [])]
            assert capture.counts.without_time == 2
            assert capture.counts.first_ns == START_NS


def test_without_any_time_packets_are_left_out_and_counted(tmp_path: Path) -> None:
    frame = s.ethernet(s.ipv4("10.0.0.1", "10.0.0.2", 17, s.udp(1, 53, s.dns("a.example"))))
    capture = open_capture(s.save(tmp_path / "x.pcapng", s.section() + s.interface() + simple(frame) * 3))
    assert list(capture) == []
    skipped = capture.counts.skipped["no time stamp, and none behind it to take"]
    assert (skipped.packets, skipped.bytes) == (3, 3 * len(frame))
    assert (capture.counts.packets, capture.counts.rows, capture.counts.row_bytes) == (3, 0, 0)
    found = list(application_fields(capture.paths, Dissection("own", OWN_FIELDS)))
    assert [row.ts != row.ts for row in found] == [True] * 3  # NaN
    assert NO_TIME < 0


def test_interface_numbers_beyond_20_bits_are_no_other_node(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    packet = s.ipv4("10.0.0.1", "10.0.0.2", 17, UDP)
    numbers = [3, 1_048_579, 2_097_155, 1_048_579, 524_287, 3]
    frames = [s.Frame(i, s.sll2(packet, ifindex=number)) for i, number in enumerate(numbers)]
    path = s.save(tmp_path / "x.pcap", s.pcap(frames, s.SLL2))
    for rows in (1, 100):
        found = np.concatenate([b.ifindex for b in open_capture(path, batch_rows=rows)]).tolist()
        assert found == [3, 524_287, 524_286, 524_287, 524_285, 3]
    assert main(["inspect", str(path)]) == 0
    assert "  interfaces    3, 524287, 1048579, 2097155" in capsys.readouterr().out
