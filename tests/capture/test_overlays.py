"""Packets inside VXLAN, Geneve, GRE and IP in IP become the rows; what cannot be decoded stays the outer packet."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mimir.capture import CaptureCounts, open_capture
from mimir.capture.batch import TCP, UDP, PacketBatch
from mimir.capture.decode import REASON_NAMES
from tests.capture import capture_samples as s

INNER = s.ipv4("10.244.1.5", "10.244.2.7", TCP, s.tcp(40_000, 8080, 7, 8) + b"x" * 10, ident=77)
INNER6 = s.ipv6("fd00::5", "fd00::7", UDP, s.udp(5000, 6000, b"12345"))
ETHERNET = s.ethernet(INNER)
NODES = ("192.168.49.2", "192.168.49.3")


def vxlan(frame: bytes, port: int = 4789, flags: int = 0x08) -> bytes:
    return s.ipv4(*NODES, UDP, s.udp(50_123, port, bytes([flags, 0, 0, 0, 0, 0, 1, 0]) + frame))


def geneve(body: bytes, inside: int = 0x6558, options: bytes = b"", first: int = 0, flags: int = 0) -> bytes:
    head = struct.pack(">BBHI", first | len(options) // 4, flags, inside, 1 << 8)
    return s.ipv4(*NODES, UDP, s.udp(50_123, 6081, head + options + body))


def gre(body: bytes, inside: int = 0x0800, flags: int = 0, extra: bytes = b"") -> bytes:
    return s.ipv4(*NODES, 47, struct.pack(">HH", flags, inside) + extra + body)


def read(path: Path, *packets: bytes, overlays: bool = True) -> tuple[PacketBatch, CaptureCounts]:
    """IPv4 packets in Ethernet frames → one batch and the counts."""
    return read_frames(path, *(s.Frame(i, s.ethernet(p)) for i, p in enumerate(packets)), overlays=overlays)


def read_frames(path: Path, *frames: s.Frame, overlays: bool = True) -> tuple[PacketBatch, CaptureCounts]:
    capture = open_capture(s.save(path / "x.pcap", s.pcap(list(frames))), overlays=overlays)
    (batch,) = capture
    return batch, capture.counts


def address(text: str) -> list[int]:
    return [0, 0xFFFF_0000_0000 | int.from_bytes(bytes(map(int, text.split("."))), "big")]


@pytest.mark.parametrize(
    ("packet", "kind"),
    [
        (vxlan(ETHERNET), "vxlan"),
        (vxlan(ETHERNET, port=8472), "vxlan"),
        (vxlan(s.ethernet(INNER, tags=(0x8100,))), "vxlan"),
        (geneve(ETHERNET), "geneve"),
        (geneve(ETHERNET, options=bytes(12)), "geneve"),
        (geneve(INNER, 0x0800), "geneve"),
        (gre(INNER), "gre"),
        (gre(INNER, flags=0xB000, extra=bytes(12)), "gre"),
        (gre(ETHERNET, 0x6558, 0x2000, bytes(4)), "gre"),
        (gre(ETHERNET, 0x88BE), "gre"),
        (gre(ETHERNET, 0x88BE, 0x1000, bytes(4 + 8)), "gre"),
        (gre(ETHERNET, 0x22EB, 0x1000, bytes(4 + 12)), "gre"),
        (gre(ETHERNET, 0x22EB, 0x1000, bytes(4 + 11) + b"\1" + bytes(8)), "gre"),
        (gre(b"\0\0\x11\x40" + INNER, 0x8847), "gre"),
        (s.ipv4(*NODES, 4, INNER), "ipip"),
    ],
)
def test_the_inner_packet_is_the_row(tmp_path: Path, packet: bytes, kind: str) -> None:
    batch, counts = read(tmp_path, packet)
    assert (batch.src[0].tolist(), batch.dst[0].tolist()) == (address("10.244.1.5"), address("10.244.2.7"))
    assert (batch.proto[0], batch.sport[0], batch.dport[0], batch.tcp_seq[0]) == (TCP, 40_000, 8080, 7)
    assert (batch.ip_bytes[0], batch.payload_bytes[0], batch.ip_id[0]) == (50, 10, 77)
    assert batch.frame_bytes[0] == 14 + len(packet) == counts.bytes == counts.row_bytes
    assert counts.overlays == {kind: 1}
    assert counts.protocols == {"ip4": 1, "tcp": 1}


@pytest.mark.parametrize("packet", [vxlan(ETHERNET), geneve(ETHERNET), gre(INNER), s.ipv4(*NODES, 4, INNER)])
def test_overlays_can_be_left_on(tmp_path: Path, packet: bytes) -> None:
    batch, counts = read(tmp_path, packet, overlays=False)
    assert batch.src[0].tolist() == address(NODES[0])
    assert batch.ip_bytes[0] == len(packet)
    assert counts.overlays == {}


def test_ipv6_inside_and_outside(tmp_path: Path) -> None:
    frames = [
        s.ethernet(s.ipv4(*NODES, 41, INNER6)),
        s.ethernet(s.ipv6("fd01::1", "fd01::2", 4, INNER), 0x86DD),
        s.ethernet(s.ipv6("fd01::1", "fd01::2", 41, INNER6), 0x86DD),
        s.ethernet(vxlan(s.ethernet(INNER6, 0x86DD))),
    ]
    batch, counts = read_frames(tmp_path, *(s.Frame(i, f) for i, f in enumerate(frames)))
    assert batch.proto.tolist() == [UDP, TCP, UDP, UDP]
    assert batch.src[:, 1].tolist() == [5, address("10.244.1.5")[1], 5, 5]
    assert counts.overlays == {"ipip": 3, "vxlan": 1}
    assert counts.protocols == {"ip4": 1, "ip6": 3, "tcp": 1, "udp": 3}


ARP = s.ethernet(s.ARP, 0x0806)
CUT = bytearray(ETHERNET)
CUT[14] = 0x41  # a header of 4 bytes


@pytest.mark.parametrize(
    "packet",
    [
        vxlan(ARP),
        vxlan(ETHERNET, flags=0),
        vxlan(ETHERNET[:30]),
        vxlan(bytes(CUT)),
        vxlan(s.ethernet(s.ipv4("10.0.0.1", "10.0.0.2", TCP, s.tcp(1, 2), wire=5000))),
        vxlan(b""),
        s.ipv4(*NODES, UDP, s.udp(4789, 50_123, bytes([8, 0, 0, 0, 0, 0, 1, 0]) + ETHERNET)),
        geneve(ETHERNET, first=0x40),
        geneve(ETHERNET, flags=0x80),
        geneve(ETHERNET, 0x1234),
        s.ipv4(*NODES, UDP, s.udp(50_123, 6081, b"\0")),
        gre(INNER, flags=0x4000),
        gre(INNER, 0x880B, 0x3001, bytes(8)),
        gre(bytes(4), 0x22EB),
        s.ipv4(*NODES, 47, b"\0\0"),
        s.ipv4(*NODES, 4, INNER[:19]),
        s.ipv4(*NODES, 41, b""),
    ],
)
def test_what_cannot_be_decoded_stays_the_outer_packet(tmp_path: Path, packet: bytes) -> None:
    batch, counts = read(tmp_path, packet)
    assert (batch.src[0].tolist(), batch.ip_bytes[0]) == (address(NODES[0]), len(packet))
    assert counts.overlays == {}


def test_fragments_of_the_outer_packet_keep_their_bytes(tmp_path: Path) -> None:
    whole = vxlan(ETHERNET)
    first = whole[:6] + b"\x20\x00" + whole[8:]
    batch, counts = read(tmp_path, first, s.ipv4(*NODES, UDP, bytes(64), place=9))
    assert batch.ip_bytes.tolist() == [len(whole), 84]
    assert batch.dport.tolist() == [4789, 4789]
    assert (counts.overlays, counts.fragments) == ({}, 2)


def test_fragments_inside_get_their_ports(tmp_path: Path) -> None:
    first = s.ipv4("10.244.1.5", "10.244.2.7", UDP, s.udp(7, 8, bytes(56), wire=500), ident=5, place=0x2000)
    later = s.ipv4("10.244.1.5", "10.244.2.7", UDP, bytes(40), ident=5, place=8)
    batch, counts = read(tmp_path, vxlan(s.ethernet(first)), vxlan(s.ethernet(later)))
    assert list(zip(batch.sport.tolist(), batch.dport.tolist(), strict=True)) == [(7, 8), (7, 8)]
    assert (counts.overlays, counts.fragments) == ({"vxlan": 2}, 2)


def test_nesting_is_bounded(tmp_path: Path) -> None:
    packets = [INNER]
    for _ in range(6):
        packets.append(s.ipv4(*NODES, 4, packets[-1]))
    batch, counts = read(tmp_path, gre(vxlan(ETHERNET)), *packets)
    assert batch.proto.tolist() == [TCP] + [TCP] * 5 + [4, 4]
    assert batch.ip_bytes.tolist() == [50] * 6 + [70, 90]
    assert counts.overlays == {"gre": 1, "vxlan": 1, "ipip": 1 + 2 + 3 + 4 + 4 + 4}


def test_only_headers_were_captured(tmp_path: Path) -> None:
    head = s.ipv4("10.244.1.5", "10.244.2.7", TCP, s.tcp(1, 2), wire=20 + 1300)
    body = bytes([8, 0, 0, 0, 0, 0, 1, 0]) + s.ethernet(head)
    outer = s.ipv4(*NODES, UDP, s.udp(50_123, 8472, body, wire=len(body) + 1300), wire=8 + len(body) + 1300)
    batch, counts = read_frames(tmp_path, s.Frame(0, s.ethernet(outer), 14 + len(outer) + 1300))
    assert (batch.ip_bytes[0], batch.payload_bytes[0], batch.frame_bytes[0]) == (1340, 1300, 14 + len(outer) + 1300)
    assert counts.truncated == 1


def test_dns_inside_is_kept(tmp_path: Path) -> None:
    message = s.dns("user-db.sock-shop")
    batch, counts = read(tmp_path, vxlan(s.ethernet(s.ipv4("10.0.0.1", "10.0.0.53", UDP, s.udp(5000, 53, message)))))
    start, size = int(batch.dns_offset[0]), int(batch.dns_bytes[0])
    assert batch.data[start : start + size].tobytes() == message
    assert counts.protocols["dns53"] == 1


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from([vxlan, geneve, gre]), st.binary(max_size=80), st.integers(0, 120))
def test_damage_inside_never_loses_the_packet(tmp_path: Path, wrap: object, noise: bytes, keep: int) -> None:
    packet = wrap(ETHERNET[:keep] + noise)  # type: ignore[operator]
    batch, counts = read(tmp_path, packet)
    assert len(batch) == counts.rows == 1
    assert not set(counts.skipped) & set(REASON_NAMES)
    assert batch.ip_bytes[0] <= len(packet)
