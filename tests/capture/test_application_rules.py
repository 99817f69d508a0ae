"""Every rule of docs/concepts/captures.md by which our own application fields differ from Wireshark's."""

from __future__ import annotations

import shutil
import struct
from pathlib import Path

import pytest

from mimir.capture.application import Dissection, FieldRow, application_fields
from tests.capture import capture_samples as s
from tests.capture.test_application import REQUEST, answer

pytestmark = pytest.mark.skipif(shutil.which("tshark") is None, reason="tshark is not installed")
FIELDS = ("dns.qry.name", "dns.a", "http.request.uri", "http.response.code")
CLIENT, SERVER = "10.0.0.1", "10.0.0.2"
HANDSHAKE = [
    s.ipv4(CLIENT, SERVER, 6, s.tcp(4000, 80, 0, flags=2)),
    s.ipv4(SERVER, CLIENT, 6, s.tcp(80, 4000, 0, 1, 0x12)),
]
QUERY = s.ipv4(CLIENT, SERVER, 17, s.udp(4000, 53, s.dns("a.example")))


def segment(at: int, data: bytes) -> bytes:
    return s.ipv4(CLIENT, SERVER, 6, s.tcp(4000, 80, 1 + at, 1) + data)


def both(folder: Path, packets: list[bytes], linktype: int = s.ETHERNET) -> tuple[list[FieldRow], list[FieldRow]]:
    """Rows of our own parsers and of tshark."""
    frames = [s.Frame(10**18 + i * 1000, s.ethernet(p) if linktype == s.ETHERNET else p) for i, p in enumerate(packets)]
    path = s.save(folder / "x.pcap", s.pcap(frames, linktype))
    own, theirs = (list(application_fields([path], Dissection(who, FIELDS))) for who in ("own", "tshark"))
    return own, theirs


def places(rows: list[FieldRow]) -> list[int]:
    return [row.packet for row in rows]


def wireshark_with(folder: Path, monkeypatch: pytest.MonkeyPatch, *preferences: str) -> None:
    folder.mkdir(exist_ok=True)
    (folder / "preferences").write_text("".join(f"{line}\n" for line in preferences))
    monkeypatch.setenv("WIRESHARK_CONFIG_DIR", str(folder))


def test_a_start_line_over_two_segments_is_reassembled_by_tshark_only(tmp_path: Path) -> None:
    own, theirs = both(tmp_path, [*HANDSHAKE, segment(0, REQUEST[:9]), segment(9, REQUEST[9:])])
    assert own == []
    assert [(row.packet, row.values[2]) for row in theirs] == [(4, "/cart?id=1")]


def test_tshark_has_no_row_while_segments_of_the_body_are_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packets = [*HANDSHAKE, segment(0, REQUEST.replace(b"Length: 0", b"Length: 5000") + b"begin")]
    own, theirs = both(tmp_path, packets)
    assert (places(own), theirs) == ([3], [])
    wireshark_with(tmp_path / "prefs", monkeypatch, "http.desegment_body: FALSE")
    own, theirs = both(tmp_path, packets)
    assert own[0].values == theirs[0].values


def test_tshark_skips_a_segment_that_comes_after_a_later_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    packets = [*HANDSHAKE, segment(len(REQUEST), b"x" * 40), segment(0, REQUEST)]
    own, theirs = both(tmp_path, packets)
    assert (places(own), theirs) == ([4], [])
    wireshark_with(tmp_path / "prefs", monkeypatch, "tcp.reassemble_out_of_order: TRUE")
    assert places(both(tmp_path, packets)[1]) == [4]


def test_a_message_over_two_files_is_seen_by_its_beginning_only(tmp_path: Path) -> None:
    split = REQUEST.index(b"Host")
    for number, packets in enumerate(([*HANDSHAKE, segment(0, REQUEST[:split])], [segment(split, REQUEST[split:])])):
        frames = [s.Frame(10**18 + number * 10**6 + i, s.ethernet(p)) for i, p in enumerate(packets)]
        s.save(tmp_path / f"x{number}.pcap", s.pcap(frames))
    files = [tmp_path / "x0.pcap", tmp_path / "x1.pcap"]
    own, theirs = (list(application_fields(files, Dissection(who, FIELDS))) for who in ("own", "tshark"))
    assert [(row.file, row.complete) for row in own] == [(1, False)]
    assert theirs == []


def test_own_counts_every_copy_and_tshark_no_retransmission(tmp_path: Path) -> None:
    own, theirs = both(tmp_path, [*HANDSHAKE, segment(0, REQUEST), segment(0, REQUEST)])
    assert (places(own), places(theirs)) == ([3, 4], [3])


def test_tshark_goes_by_ports_before_it_looks_at_bytes(tmp_path: Path) -> None:
    odd = s.ipv4(CLIENT, SERVER, 17, s.udp(4000, 1953, s.dns("a.example")))
    claimed = s.ipv4(CLIENT, SERVER, 6, s.tcp(4001, 5432, 1, 1) + REQUEST)  # PostgreSQL's
    own, theirs = both(tmp_path, [odd, claimed])
    assert (places(own), places(theirs)) == ([2], [1])  # own knows DNS by its ports alone


def test_what_an_icmp_error_quotes_is_read_by_tshark_only(tmp_path: Path) -> None:
    error = s.ipv4(SERVER, CLIENT, 1, struct.pack(">BBHI", 3, 3, 0, 0) + QUERY)
    own, theirs = both(tmp_path, [QUERY, error])
    assert (places(own), places(theirs)) == ([1], [1, 2])
    assert (theirs[1].src, theirs[1].dst) == (CLIENT, SERVER)  # of the quoted packet


def test_an_overlay_is_told_by_its_destination_port(tmp_path: Path) -> None:
    inner = s.ethernet(s.ipv4(SERVER, CLIENT, 17, s.udp(53, 4000, answer())))
    geneve = b"\0\0\x65\x58\0\0\1\0" + inner
    to, back = ((4000, 6081), (6081, 4000))
    packets = [s.ipv4("192.0.2.1", "192.0.2.2", 17, s.udp(*ports, geneve)) for ports in (to, back)]
    own, theirs = both(tmp_path, packets)
    assert (places(own), places(theirs)) == ([1], [1, 2])


def test_a_dns_message_that_does_not_hold_together_gives_no_row(tmp_path: Path) -> None:
    forward = struct.pack(">HHHHHH", 7, 0x0100, 1, 0, 0, 0) + b"\xc0\x12\0\1\0\1\1x\0"
    own, theirs = both(tmp_path, [s.ipv4(CLIENT, SERVER, 17, s.udp(4000, 53, forward))])
    assert own == []
    assert [row.values[0] for row in theirs] == ["x"]


def test_ipv4_behind_the_link_type_of_ipv6_is_read_by_own_only(tmp_path: Path) -> None:
    own, theirs = both(tmp_path, [QUERY], linktype=229)
    assert (places(own), theirs) == ([1], [])
