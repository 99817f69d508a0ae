"""Link, network and transport layers: hand-packed frames → rows."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from mimir.capture import CaptureCounts, open_capture
from mimir.capture.batch import FROM_US, ICMP, ICMP6, SCTP, SYN, TCP, TO_US, UDP, PacketBatch
from tests.capture import capture_samples as s

PACKET = s.ipv4("10.0.0.1", "10.0.0.2", TCP, s.tcp(40_000, 80, 7, 8, SYN) + b"x" * 10)
PACKET6 = s.ipv6("2001:db8::1", "2001:db8::2", UDP, s.udp(1, 2, b"12345"))


def read(tmp_path: Path, linktype: int, *frames: bytes | s.Frame) -> tuple[PacketBatch, CaptureCounts]:
    """One batch and the counts."""
    packed = [f if isinstance(f, s.Frame) else s.Frame(i, f) for i, f in enumerate(frames)]
    capture = open_capture(s.save(tmp_path / "x.pcap", s.pcap(packed, linktype)))
    batches = list(capture)
    assert len(batches) <= 1
    return batches[0] if batches else None, capture.counts  # type: ignore[return-value]


@pytest.mark.parametrize(
    ("linktype", "frame"),
    [
        (s.ETHERNET, s.ethernet(PACKET)),
        (s.ETHERNET, s.ethernet(PACKET, tags=(0x8100,))),
        (s.ETHERNET, s.ethernet(PACKET, tags=(0x88A8, 0x8100))),
        (s.ETHERNET, s.ethernet(b"\xaa\xaa\x03\0\0\0\x08\0" + PACKET, 8 + len(PACKET))),
        (s.ETHERNET, s.ethernet(b"\x06\x06\x03" + PACKET, 3 + len(PACKET))),
        (s.ETHERNET, s.ethernet(b"\0\x01\x00\x40\0\x02\x01\x40" + PACKET, 0x8847)),
        (s.ETHERNET, s.ethernet(b"\x11\0\0\x01\0\0\0\x21" + PACKET, 0x8864)),
        (s.SLL, s.sll(PACKET)),
        (s.SLL2, s.sll2(PACKET)),
        (s.RAW, PACKET),
        (12, PACKET),
        (228, PACKET),
        (s.NULL, b"\2\0\0\0" + PACKET),
        (s.NULL, b"\0\0\0\2" + PACKET),
        (s.LOOP, b"\0\0\0\2" + PACKET),
    ],
)
def test_link_types_lead_to_the_same_packet(tmp_path: Path, linktype: int, frame: bytes) -> None:
    batch, counts = read(tmp_path, linktype, frame)
    assert (batch.sport[0], batch.dport[0], batch.tcp_flags[0]) == (40_000, 80, SYN)
    assert (batch.tcp_seq[0], batch.tcp_ack[0], batch.payload_bytes[0], batch.ip_bytes[0]) == (7, 8, 10, 50)
    assert counts.protocols["tcp"] == counts.protocols["ip4"] == 1


def test_tagged_frames_are_counted_once(tmp_path: Path) -> None:
    frames = [s.ethernet(PACKET), s.ethernet(PACKET, tags=(0x8100,)), s.ethernet(PACKET, tags=(0x88A8, 0x8100))]
    assert read(tmp_path, s.ETHERNET, *frames)[1].protocols["vlan"] == 2


@pytest.mark.parametrize(
    ("linktype", "head"),
    [(s.NULL, b"\x1e\0\0\0"), (s.LOOP, b"\0\0\0\x18"), (229, b""), (s.RAW, b""), (s.NULL, b"\0\0\0\x0a")],
)
def test_ipv6_over_loopback_and_raw(tmp_path: Path, linktype: int, head: bytes) -> None:
    batch, counts = read(tmp_path, linktype, head + PACKET6)
    assert batch.src[0].tolist() == [0x20010DB8 << 32, 1]
    assert (batch.sport[0], batch.dport[0], batch.payload_bytes[0], batch.ip_bytes[0]) == (1, 2, 5, 53)
    assert counts.protocols == {"ip6": 1, "udp": 1}


def test_sll2_says_where_a_packet_was_seen(tmp_path: Path) -> None:
    frames = [s.sll2(PACKET, ifindex=7, direction=TO_US), s.sll2(PACKET, ifindex=9, direction=FROM_US)]
    batch, _ = read(tmp_path, s.SLL2, *frames)
    assert batch.ifindex.tolist() == [7, 9]
    assert batch.direction.tolist() == [TO_US, FROM_US]


def test_sll_says_the_direction_only(tmp_path: Path) -> None:
    batch, _ = read(tmp_path, s.SLL, s.sll(PACKET, direction=FROM_US))
    assert (batch.ifindex[0], batch.direction[0]) == (-1, FROM_US)


def test_what_is_no_ip_is_counted_by_type(tmp_path: Path) -> None:
    frames = [
        s.ethernet(s.ARP, 0x0806),
        s.ethernet(s.ARP, 0x0806),
        s.ethernet(bytes(30), 0x88CC),
        s.ethernet(bytes(38), 38),
        bytes(9),
    ]
    batch, counts = read(tmp_path, s.ETHERNET, *frames, s.ethernet(PACKET))
    assert len(batch) == 1
    assert counts.protocols == {"ip4": 1, "tcp": 1, "arp": 2, "lldp": 1}
    assert {k: (v.packets, v.first_offset) for k, v in counts.skipped.items()} == {
        "not IP": (4, 24),
        "link header not captured in full": (1, 24 + 4 * 16 + 42 * 2 + 44 + 52),
    }
    assert counts.bytes == counts.row_bytes + sum(x.bytes for x in counts.skipped.values())


def test_other_link_types_are_counted_by_number(tmp_path: Path) -> None:
    batch, counts = read(tmp_path, 105, b"\x80\0" * 20)
    assert batch is None
    assert counts.link_types == {"linktype 105": 1}
    assert counts.skipped["unsupported link type"].packets == 1


def test_lengths_are_those_on_the_wire(tmp_path: Path) -> None:
    short = s.ipv4("10.0.0.1", "10.0.0.2", TCP, s.tcp(1, 2), wire=20 + 1400)
    padded = s.ipv4("10.0.0.1", "10.0.0.2", TCP, s.tcp(1, 2, options=bytes(12)) + b"ab") + bytes(20)
    padded = padded[:2] + struct.pack(">H", 54) + padded[4:]
    batch, counts = read(tmp_path, s.ETHERNET, s.Frame(0, s.ethernet(short), 1454), s.ethernet(padded))
    assert batch.frame_bytes.tolist() == [1454, 88]
    assert batch.ip_bytes.tolist() == [1440, 54]
    assert batch.payload_bytes.tolist() == [1400, 2]
    assert (counts.truncated, counts.captured_bytes, counts.bytes) == (1, 54 + 88, 1454 + 88)


def test_segmentation_offload_takes_the_length_of_the_frame(tmp_path: Path) -> None:
    v4 = bytearray(s.ipv4("10.0.0.1", "10.0.0.2", TCP, s.tcp(1, 2)))
    v4[2:4] = b"\0\0"
    v6 = s.ipv6("2001:db8::1", "2001:db8::2", TCP, s.tcp(1, 2), wire=0)
    batch, _ = read(
        tmp_path,
        s.ETHERNET,
        s.Frame(0, s.ethernet(bytes(v4)), 14 + 40 + 70_000),
        s.Frame(1, s.ethernet(v6, 0x86DD), 14 + 60 + 70_000),
    )
    assert batch.ip_bytes.tolist() == [70_040, 70_060]
    assert batch.payload_bytes.tolist() == [70_000, 70_000]


def test_an_offload_of_gigabytes_is_no_packet(tmp_path: Path) -> None:
    v4 = bytearray(s.ipv4("10.0.0.1", "10.0.0.2", TCP, s.tcp(1, 2)))
    v4[2:4] = b"\0\0"
    v6 = s.ipv6("2001:db8::1", "2001:db8::2", TCP, s.tcp(1, 2), wire=0)
    frames = [s.Frame(0, s.ethernet(bytes(v4)), 2**32 - 1), s.Frame(1, s.ethernet(v6, 0x86DD), 2**31)]
    _, counts = read(tmp_path, s.ETHERNET, *frames)
    assert counts.skipped["malformed IP header"].packets == 2


def test_later_fragments_get_the_ports_of_the_first(tmp_path: Path) -> None:
    def piece(ident: int, place: int, body: bytes) -> bytes:
        return s.ethernet(s.ipv4("10.0.0.1", "10.0.0.2", UDP, body, ident=ident, place=place))

    six = [struct.pack(">BBHI", UDP, 0, place, 99) for place in (1, 8 << 3)]
    batch, counts = read(
        tmp_path,
        s.ETHERNET,
        piece(5, 0x2000, s.udp(53, 9999, bytes(56), wire=500)),
        piece(5, 0x2008, bytes(64)),
        piece(6, 0x2008, bytes(64)),
        piece(5, 0x0010, bytes(40)),
        s.ethernet(s.ipv6("2001:db8::1", "2001:db8::2", 44, six[0] + s.udp(7, 8, bytes(56))), 0x86DD),
        s.ethernet(s.ipv6("2001:db8::1", "2001:db8::2", 44, six[1] + bytes(32)), 0x86DD),
    )
    assert list(zip(batch.sport.tolist(), batch.dport.tolist(), strict=True)) == [
        (53, 9999), (53, 9999), (0, 0), (53, 9999), (7, 8), (7, 8),
    ]  # fmt: skip
    assert batch.payload_bytes.tolist() == [56, 64, 64, 40, 56, 32]
    assert counts.fragments == 6
    assert batch.ip_id.tolist() == [5, 5, 6, 5, 0, 0]


def test_ipv6_extension_headers_and_authentication_header(tmp_path: Path) -> None:
    chain = bytes([43, 0]) + bytes(6) + bytes([60, 0]) + bytes(6) + bytes([TCP, 1]) + bytes(14)
    ah = bytes([UDP, 4]) + bytes(22)
    batch, _ = read(
        tmp_path,
        s.ETHERNET,
        s.ethernet(s.ipv6("2001:db8::1", "2001:db8::2", 0, chain + s.tcp(5, 6) + b"abc"), 0x86DD),
        s.ethernet(s.ipv4("10.0.0.1", "10.0.0.2", 51, ah + s.udp(8, 9, b"abcd"))),
        s.Frame(
            2, s.ethernet(s.ipv6("2001:db8::1", "2001:db8::2", 0, bytes([0, 0]) + bytes(6), wire=400), 0x86DD), 454
        ),
    )
    assert batch.proto.tolist() == [TCP, UDP, 0]
    assert batch.sport.tolist() == [5, 8, 0]
    assert batch.payload_bytes.tolist() == [3, 4, 392]


def test_a_chain_of_headers_without_end_ends(tmp_path: Path) -> None:
    batch, _ = read(tmp_path, s.ETHERNET, s.ethernet(s.ipv6("::1", "::2", 60, bytes([60, 0] + [0] * 6) * 200), 0x86DD))
    assert batch.proto.tolist() == [60]


def test_other_transports(tmp_path: Path) -> None:
    batch, counts = read(
        tmp_path,
        s.ETHERNET,
        s.ethernet(s.ipv4("10.0.0.1", "10.0.0.2", SCTP, struct.pack(">HHII", 36412, 36413, 1, 2) + bytes(16))),
        s.ethernet(s.ipv4("10.0.0.1", "10.0.0.2", ICMP, bytes(8 + 56))),
        s.ethernet(s.ipv6("2001:db8::1", "2001:db8::2", ICMP6, bytes(8 + 16)), 0x86DD),
        s.ethernet(s.ipv4("10.0.0.1", "10.0.0.2", 47, bytes(30))),
        s.ethernet(s.ipv4("10.0.0.1", "10.0.0.2", 200, bytes(30))),
    )
    assert batch.sport.tolist() == [36412, 0, 0, 0, 0]
    assert batch.payload_bytes.tolist() == [16, 56, 16, 30, 30]
    assert counts.protocols == {"ip4": 4, "ip6": 1, "sctp": 1, "icmp": 1, "icmp6": 1, "gre": 1, "ip proto 200": 1}


def test_damaged_packets_are_counted_not_guessed(tmp_path: Path) -> None:
    good = bytearray(PACKET)
    short_header, short_total, version = bytearray(good), bytearray(good), bytearray(good)
    short_header[0], version[0] = 0x43, 0x95
    short_total[2:4] = struct.pack(">H", 19)
    batch, counts = read(
        tmp_path, s.ETHERNET, *(s.ethernet(bytes(x)) for x in (short_header, short_total, version)), s.ethernet(PACKET[:19]),
        s.ethernet(PACKET6[:39], 0x86DD), s.ethernet(b""), s.Frame(6, s.ethernet(PACKET[:22]), 64),
        s.Frame(7, s.ethernet(PACKET[:30]), 64),
    )  # fmt: skip
    assert {k: v.packets for k, v in counts.skipped.items()} == {
        "malformed IP header": 3,
        "IP header not captured in full": 3,
    }
    assert batch.sport.tolist() == [0, 40_000]
    assert batch.tcp_flags.tolist() == [0, 0]
    assert batch.payload_bytes.tolist() == [10, 10]
