"""PcapWriter against a small parser of its own, against its errors, and against tcpdump and Wireshark."""

from __future__ import annotations

import shutil
import struct
import subprocess
from dataclasses import dataclass, fields, replace
from hashlib import sha256
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mimir.capture.batch import ACK, FIN, FROM_US, ICMP, ICMP6, PSH, RST, SYN, TCP, TO_US, UDP, PacketBatch
from mimir.capture.reader import Capture, open_capture
from mimir.capture.writer import PcapWriter

START_NS = 1_700_000_000_123_456_789


@dataclass(frozen=True)
class Row:
    """One packet as the test describes it; `head` counts the transport header."""

    proto: int = TCP
    src: str = "10.0.0.1"
    dst: str = "10.0.0.2"
    sport: int = 40_000
    dport: int = 80
    head: int = 32
    payload: int = 0
    flags: int = ACK
    seq: int = 1
    ack: int = 2
    ident: int = 3
    ifindex: int = 4
    direction: int = TO_US
    dns: bytes | None = None
    gap_ns: int = 1_000

    @property
    def version(self) -> int:
        return ip_address(self.src).version

    @property
    def ip_bytes(self) -> int:
        return (20 if self.version == 4 else 40) + self.head + self.payload


def halves(address: str) -> tuple[int, int]:
    parsed = ip_address(address)
    number = int(parsed) | (0xFFFF << 32 if parsed.version == 4 else 0)
    return number >> 64, number & (2**64 - 1)


def batch_of(rows: list[Row]) -> PacketBatch:
    def column(values: list[Any], kind: Any) -> Any:
        return np.array(values, dtype=kind)

    messages = [row.dns or b"" for row in rows]
    ends = np.cumsum([len(m) for m in messages], dtype=np.int64)
    offsets = [int(e) - len(m) if r.dns is not None else -1 for r, m, e in zip(rows, messages, ends, strict=True)]
    return PacketBatch(
        ts_ns=START_NS + np.cumsum([r.gap_ns for r in rows], dtype=np.int64),
        src=column([halves(r.src) for r in rows], np.uint64).reshape(-1, 2),
        dst=column([halves(r.dst) for r in rows], np.uint64).reshape(-1, 2),
        proto=column([r.proto for r in rows], np.uint8),
        sport=column([r.sport for r in rows], np.uint16),
        dport=column([r.dport for r in rows], np.uint16),
        frame_bytes=column([r.ip_bytes + 20 for r in rows], np.uint32),
        ip_bytes=column([r.ip_bytes for r in rows], np.uint32),
        payload_bytes=column([r.payload for r in rows], np.uint32),
        tcp_flags=column([r.flags if r.proto == TCP else 0 for r in rows], np.uint8),
        tcp_seq=column([r.seq for r in rows], np.uint32),
        tcp_ack=column([r.ack for r in rows], np.uint32),
        ip_id=column([r.ident for r in rows], np.uint16),
        ifindex=column([r.ifindex for r in rows], np.int32),
        direction=column([r.direction for r in rows], np.uint8),
        tunnel=np.full(len(rows), -1, np.int32),
        dns_offset=column(offsets, np.int64),
        dns_bytes=column([len(m) for m in messages], np.uint16),
        data=np.frombuffer(b"".join(messages), dtype=np.uint8),
    )


def write(path: Path, rows: list[Row], snaplen: int = 320, payload: Any = "dns") -> Any:
    with PcapWriter(path, snaplen, payload) as writer:
        writer.write(batch_of(rows))
        return writer.close()


def records(path: Path) -> list[tuple[int, int, bytes]]:
    """(time in ns, original length, captured bytes) of each record of a file that must be nanosecond pcap with SLL2."""
    content = path.read_bytes()
    magic, major, minor, zone, sigfigs, _, linktype = struct.unpack_from("<IHHiIII", content)
    assert (magic, major, minor, zone, sigfigs, linktype) == (0xA1B23C4D, 2, 4, 0, 0, 276)
    found, at = [], 24
    while at < len(content):
        seconds, nanoseconds, captured, original = struct.unpack_from("<IIII", content, at)
        assert nanoseconds < 10**9
        found.append((seconds * 10**9 + nanoseconds, original, content[at + 16 : at + 16 + captured]))
        at += 16 + captured
    assert at == len(content)
    return found


def ones_complement(data: bytes) -> int:
    """Internet checksum of data that already holds its checksum: 0xFFFF when it is right."""
    total = sum(struct.unpack(f"!{(len(data) + 1) // 2}H", data + b"\0" * (len(data) % 2)))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total


def check_packet(row: Row, packet: bytes) -> bytes:
    """Everything a whole captured packet must say of its row; returns the captured bytes above the transport header."""
    ethertype, reserved, ifindex, arphrd, kind, length = struct.unpack_from("!HHIHBB", packet)
    assert (reserved, ifindex, arphrd, kind, length) == (0, row.ifindex, 1, row.direction, 6)
    assert packet[12:20] == b"\x02\x42" + struct.pack("!I", row.ifindex) + b"\0\0"
    ip = packet[20:]
    transport_bytes = row.head + row.payload
    if row.version == 4:
        assert ethertype == 0x0800
        version, _, total, ident, fragment, ttl, proto = struct.unpack_from("!BBHHHBB", ip)
        assert (version, total, ident, fragment, ttl, proto) == (0x45, row.ip_bytes, row.ident, 0x4000, 64, row.proto)
        assert ones_complement(ip[:20]) == 0xFFFF
        assert (IPv4Address(ip[12:16]), IPv4Address(ip[16:20])) == (ip_address(row.src), ip_address(row.dst))
        pseudo, rest = ip[12:20] + struct.pack("!HH", row.proto, transport_bytes), ip[20:]
    else:
        assert ethertype == 0x86DD
        first, payload, proto, hops = struct.unpack_from("!IHBB", ip)
        assert (first, payload, proto, hops) == (6 << 28, transport_bytes, row.proto, 64)
        assert (IPv6Address(ip[8:24]), IPv6Address(ip[24:40])) == (ip_address(row.src), ip_address(row.dst))
        pseudo, rest = ip[8:40] + struct.pack("!IHBB", transport_bytes, 0, 0, row.proto), ip[40:]
    whole = (rest + (row.dns or b"")[len(rest) - row.head :]).ljust(transport_bytes, b"\0")
    assert ones_complement((b"" if row.proto == ICMP else pseudo) + whole) == 0xFFFF
    check_transport(row, rest)
    return rest[row.head :]


def check_transport(row: Row, rest: bytes) -> None:
    if row.proto == TCP:
        sport, dport, seq, ack, offset, flags, window = struct.unpack_from("!HHIIBBH", rest)
        expected = (row.sport, row.dport, row.seq, row.ack, row.head // 4, row.flags)
        assert (sport, dport, seq, ack, offset >> 4, flags) == expected
        assert window == (64_240 if flags & SYN else 0 if flags & RST else 8_192)
        assert option_kinds(rest[20 : row.head]) == expected_options(row)
    elif row.proto == UDP:
        assert struct.unpack_from("!HHH", rest) == (row.sport, row.dport, row.head + row.payload)
        assert rest[6:8] != b"\0\0"
    else:
        session, sequence = row.ack & 0xFFFF if row.ack else row.ident, row.seq & 0xFFFF if row.seq else 1
        assert struct.unpack_from("!BB2xHH", rest) == (8 if row.proto == ICMP else 128, 0, session, sequence)


def option_kinds(options: bytes) -> list[int]:
    kinds, at = [], 0
    while at < len(options):
        kinds.append(options[at])
        at += 1 if options[at] == 1 else options[at + 1]
    assert at == len(options)
    return [kind for kind in kinds if kind != 1]


def expected_options(row: Row) -> list[int]:
    room = row.head - 20
    if row.flags & SYN:
        return [2, 4, 8, 3] if room >= 20 else [2, 8] if room >= 16 else [2] if room >= 4 else []
    return [8] if room >= 12 else []


V4 = st.integers(1, 2**32 - 1).map(lambda n: str(IPv4Address(n)))
V6 = st.integers(2**64, 2**128 - 1).map(lambda n: str(IPv6Address(n)))
U16, U32 = st.integers(0, 2**16 - 1), st.integers(0, 2**32 - 1)


@st.composite
def packets(draw: Any) -> Row:
    address = draw(st.sampled_from([V4, V6]))
    proto = draw(st.sampled_from([TCP, UDP, ICMP if address is V4 else ICMP6]))
    dns = draw(st.none() | st.binary(min_size=1, max_size=200)) if proto == UDP else None
    return Row(
        proto=proto,
        src=draw(address),
        dst=draw(address),
        sport=draw(U16),
        dport=draw(U16),
        head=20 + 4 * draw(st.integers(0, 10)) if proto == TCP else 8,
        payload=len(dns) if dns is not None else draw(st.integers(0, 65_000)),
        flags=draw(st.sampled_from([SYN, SYN | ACK, ACK, PSH | ACK, FIN | ACK, RST, RST | ACK])),
        seq=draw(U32),
        ack=draw(U32),
        ident=draw(U16),
        ifindex=draw(st.integers(0, 2**31 - 1)),
        direction=draw(st.integers(0, 4)),
        dns=dns,
        gap_ns=draw(st.integers(0, 3 * 10**9)),
    )


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(packets(), min_size=1, max_size=12), keep=st.booleans())
def test_what_is_written_reads_back(tmp_path: Path, rows: list[Row], keep: bool) -> None:
    counts = write(tmp_path / "a.pcap", rows, payload="dns" if keep else "none")
    found = records(tmp_path / "a.pcap")
    assert [ts for ts, _, _ in found] == batch_of(rows).ts_ns.tolist()
    for row, (_, original, packet) in zip(rows, found, strict=True):
        assert original == 20 + row.ip_bytes
        assert check_packet(row, packet) == (row.dns or b"" if keep else b"")
    content = (tmp_path / "a.pcap").read_bytes()
    assert (counts.packets, counts.bytes, counts.sha256) == (len(rows), len(content), sha256(content).hexdigest())


@settings(deadline=None, max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(packets(), min_size=1, max_size=8), snaplen=st.integers(1, 130))
def test_snaplen_cuts_the_same_bytes(tmp_path: Path, rows: list[Row], snaplen: int) -> None:
    write(tmp_path / "whole.pcap", rows)
    write(tmp_path / "cut.pcap", rows, snaplen=snaplen)
    whole = [(ts, original, packet[:snaplen]) for ts, original, packet in records(tmp_path / "whole.pcap")]
    assert records(tmp_path / "cut.pcap") == whole


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(packets(), min_size=1, max_size=12))
def test_the_reader_gives_the_same_batch(tmp_path: Path, rows: list[Row]) -> None:
    rows = [replace(row, dport=53) if row.dns is not None else row for row in rows]
    write(tmp_path / "a.pcap", rows)
    written = batch_of(rows)
    capture = open_capture(tmp_path / "a.pcap")
    (read,) = capture
    assert isinstance(capture, Capture)
    known = capture.interfaces.taken  # numbers beyond 20 bits get others
    read = replace(read, ifindex=np.array([known.get(n, n) for n in read.ifindex.tolist()], np.int32))
    ports, tcp, v4 = np.isin(written.proto, (TCP, UDP)), written.proto == TCP, written.src[:, 0] == 0
    expected = {
        "sport": written.sport * ports + 8 * (written.proto == ICMP) + 128 * (written.proto == ICMP6),
        "dport": written.dport * ports + 129 * (written.proto == ICMP6),
        "tcp_seq": written.tcp_seq * tcp,
        "tcp_ack": written.tcp_ack * tcp,
        "ip_id": written.ip_id * v4,
    }
    for name in {field.name for field in fields(PacketBatch)} - {"dns_offset", "dns_bytes", "data"}:
        assert getattr(read, name).tolist() == expected.get(name, getattr(written, name)).tolist(), name
    begins, ends = read.dns_offset, read.dns_offset + read.dns_bytes
    found = [read.data[b:e].tobytes() if b >= 0 else b"" for b, e in zip(begins, ends, strict=True)]
    assert found == [row.dns or b"" for row in rows]


@pytest.mark.parametrize("proto", [TCP, ICMP])
def test_contents_of_any_protocol_are_kept_where_all_are_wanted(tmp_path: Path, proto: int) -> None:
    row = Row(proto=proto, head=8 if proto == ICMP else 32, payload=9, dns=b"contents", dport=80)
    write(tmp_path / "all.pcap", [row], payload="all")
    ((_, _, packet),) = records(tmp_path / "all.pcap")
    assert packet.endswith(b"contents")
    check_packet(row, packet)
    write(tmp_path / "dns.pcap", [row], payload="dns")
    ((_, _, short),) = records(tmp_path / "dns.pcap")
    assert len(short) == len(packet) - len(b"contents")


def test_batches_join_without_a_seam(tmp_path: Path) -> None:
    rows = [Row(seq=k, dns=b"x" * k if k % 3 else None, proto=UDP, head=8, payload=k) for k in range(1, 60)]
    write(tmp_path / "one.pcap", rows)
    whole = batch_of(rows)
    with PcapWriter(tmp_path / "three.pcap", 320, "dns") as writer:
        for part in (slice(0, 20), slice(20, 20), slice(20, 59)):
            writer.write(whole.take(part))
        assert writer.close() == writer.close()
    assert (tmp_path / "one.pcap").read_bytes() == (tmp_path / "three.pcap").read_bytes()


def test_more_rows_than_one_round(tmp_path: Path) -> None:
    rows = batch_of([Row(seq=k, gap_ns=1) for k in range(1000)]).take(np.arange(100_000) // 100)
    with PcapWriter(tmp_path / "a.pcap", 320, "dns") as writer:
        writer.write(rows)
    found = records(tmp_path / "a.pcap")
    assert [ts for ts, _, _ in found] == rows.ts_ns.tolist()
    assert [struct.unpack_from("!I", packet, 44)[0] for _, _, packet in found] == rows.tcp_seq.tolist()


def test_unknown_interface_and_direction_become_zero(tmp_path: Path) -> None:
    write(tmp_path / "a.pcap", [Row(ifindex=-1, direction=255)])
    check_packet(Row(ifindex=0, direction=0), records(tmp_path / "a.pcap")[0][2])


def test_no_packets_make_a_file_that_is_a_header(tmp_path: Path) -> None:
    assert write(tmp_path / "a.pcap", []).packets == 0
    assert records(tmp_path / "a.pcap") == []


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        (Row(proto=132, head=12), "row 1 .* protocol 132"),
        (Row(proto=ICMP6, head=8), "row 1 .* protocol 58"),
        (Row(proto=ICMP, head=8, src="2001:db8::1", dst="2001:db8::2"), "row 1 .* protocol 1 "),
        (Row(head=16), "lengths no packet can have"),
        (Row(head=34), "lengths no packet can have"),
        (Row(head=64), "lengths no packet can have"),
        (Row(proto=UDP, head=12), "lengths no packet can have"),
        (Row(payload=65_536), "lengths no packet can have"),
        (Row(proto=UDP, head=8, payload=3, dns=b"four"), "lengths no packet can have"),
        (Row(dst="2001:db8::1"), "mixes"),
        (Row(gap_ns=-1), "earlier"),
    ],
)
def test_rows_that_are_no_packets_are_named_and_leave_no_file(tmp_path: Path, bad: Row, words: str) -> None:
    (tmp_path / "a.pcap").write_text("an earlier capture")
    with pytest.raises(ValueError, match=words):
        write(tmp_path / "a.pcap", [Row(), bad])
    assert [p.name for p in tmp_path.iterdir()] == ["a.pcap"]
    assert (tmp_path / "a.pcap").read_text() == "an earlier capture"


def test_order_holds_across_batches(tmp_path: Path) -> None:
    batch = batch_of([Row(), Row()])
    with PcapWriter(tmp_path / "a.pcap", 320, "dns") as writer:
        writer.write(batch)
        with pytest.raises(ValueError, match=r"row 0 .* earlier"):
            writer.write(batch)


def test_messages_beyond_the_data_are_refused(tmp_path: Path) -> None:
    batch = batch_of([Row(proto=UDP, head=8, payload=4, dns=b"four")])
    batch.dns_offset[0] = 1
    with (
        pytest.raises(ValueError, match=r"row 0 .* byte 5 of 4"),
        PcapWriter(tmp_path / "a.pcap", 320, "dns") as writer,
    ):
        writer.write(batch)


def test_snaplen_must_be_positive(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="snaplen must be > 0"):
        PcapWriter(tmp_path / "a.pcap", 0, "dns")


QUERY = bytes.fromhex("000701000001000000000000") + b"\x07user-db\x09sock-shop\x00" + bytes.fromhex("00010001")
ORDINARY = [
    Row(flags=SYN, head=40, ack=0),
    Row(flags=SYN | ACK, head=40, src="10.0.0.2", dst="10.0.0.1", sport=80, dport=40_000, ack=2),
    Row(flags=PSH | ACK, payload=700, seq=2, ack=2, direction=FROM_US),
    Row(flags=FIN | ACK, seq=702, ack=2),
    Row(flags=RST, head=20),
    Row(proto=UDP, head=8, payload=len(QUERY), dns=QUERY, dport=53),
    Row(proto=UDP, head=8, payload=len(QUERY), dns=QUERY, dport=53, src="2001:db8::1", dst="2001:db8::2"),
    Row(proto=ICMP, head=8, payload=56),
    Row(proto=ICMP6, head=8, src="fe80::1", dst="fe80::2"),
    Row(src="2001:db8::1", dst="2001:db8::2", flags=SYN, head=40),
]


def run(*command: str) -> subprocess.CompletedProcess[str]:
    if shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} is not installed")
    return subprocess.run(command, capture_output=True, text=True, check=True)


def test_tcpdump_reads_it_without_complaint(tmp_path: Path) -> None:
    write(tmp_path / "a.pcap", ORDINARY)
    done = run("tcpdump", "-nn", "-vv", "-r", str(tmp_path / "a.pcap"))
    assert "link-type LINUX_SLL2" in done.stderr
    text = done.stdout
    assert not any(word in text for word in ("incorrect", "bad", "invalid", "wrong"))
    assert text.count("(correct)") + text.count("[udp sum ok]") + text.count("[icmp6 sum ok]") == 8
    assert text.count("A? user-db.sock-shop.") == 2
    assert "options [mss 1460,sackOK,TS val" in text


def test_wireshark_reads_it_without_complaint(tmp_path: Path) -> None:
    write(tmp_path / "a.pcap", ORDINARY)
    checks = [f"{p}.check_checksum:TRUE" for p in ("ip", "tcp", "udp")]
    names = ["ip.checksum.status", "tcp.checksum.status", "udp.checksum.status", "dns.qry.name", "_ws.malformed"]
    options = [part for check in checks for part in ("-o", check)] + [part for name in names for part in ("-e", name)]
    done = run("tshark", "-n", "-r", str(tmp_path / "a.pcap"), "-T", "fields", "-E", "separator=,", *options)
    ip, tcp, udp, names_asked, malformed = zip(*(line.split(",") for line in done.stdout.splitlines()), strict=True)
    assert [status for status in ip if status] == ["1"] * 7
    assert list(tcp) == ["1", "1", "2", "1", "1", "", "", "", "", "1"]  # the third has a payload that was not captured
    assert [status for status in udp if status] == ["1", "1"]
    assert [name for name in names_asked if name] == ["user-db.sock-shop"] * 2
    assert not any(malformed)
    run("capinfos", str(tmp_path / "a.pcap"))
