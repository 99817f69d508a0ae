"""Application fields: our own parsers, Wireshark's, and pyshark's in one table."""

from __future__ import annotations

import shutil
import struct
import subprocess
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mimir.capture import dns_message
from mimir.capture import hello as hello_module
from mimir.capture.__main__ import main
from mimir.capture.application import OWN_FIELDS, Dissection, FieldRow, application_fields
from mimir.capture.dissection import dissection_problems
from mimir.capture.dns_message import MAX_RECORDS, read_dns, read_dns_stream
from mimir.capture.field_table import write_fields
from mimir.capture.hello import read_hello
from mimir.capture.http1 import read_http
from mimir.errors import CaptureError
from tests.capture import capture_samples as s

needs_tshark = pytest.mark.skipif(shutil.which("tshark") is None, reason="tshark is not installed")
REQUEST = b"GET /cart?id=1 HTTP/1.1\r\nHost: shop.example\r\nUser-Agent: x\r\nContent-Length: 0\r\n\r\n"
RESPONSE = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"


def extension(kind: int, value: bytes) -> bytes:
    return struct.pack(">HH", kind, len(value)) + value


def hello(name: str = "shop.example", protocols: tuple[str, ...] = ("h2", "http/1.1"), who: int = 1) -> bytes:
    listed = b"".join(bytes([len(p)]) + p.encode() for p in protocols)
    host = b"\0" + struct.pack(">H", len(name)) + name.encode()
    more = extension(16, struct.pack(">H", len(listed)) + listed)
    if who == 1:
        more = extension(0, struct.pack(">H", len(host)) + host) + more
    middle = b"\0" + (b"\0\2\x13\x01" + b"\1\0" if who == 1 else b"\xc0\x2f\0")
    body = b"\3\3" + bytes(32) + middle + struct.pack(">H", len(more)) + more
    handshake = bytes([who]) + len(body).to_bytes(3, "big") + body
    return b"\x16\3\1" + struct.pack(">H", len(handshake)) + handshake


def answer() -> bytes:
    query = s.dns("a.example", response=True)
    record = b"\xc0\x0c\0\1\0\1" + struct.pack(">IH", 60, 4) + bytes([192, 0, 2, 7])
    return query[:6] + b"\0\1" + query[8:] + record


@pytest.fixture
def mixed(tmp_path: Path) -> Path:
    """A DNS query with its answer, the same over TCP twice in a segment, TLS hellos and HTTP on an odd port."""
    here, there, query = "10.0.0.1", "10.0.0.2", s.dns("a.example")
    framed = struct.pack(">H", len(query)) + query
    packets = [
        s.ipv4(here, there, 17, s.udp(4000, 53, query)),
        s.ipv4(there, here, 17, s.udp(53, 4000, answer())),
        s.ipv4(here, there, 6, s.tcp(4001, 53, 1) + framed + framed),
        s.ipv4(here, there, 6, s.tcp(4002, 443, 1) + hello()),
        s.ipv4(there, here, 6, s.tcp(443, 4002, 1) + hello(protocols=("h2",), who=2)),
        s.ipv4(here, there, 6, s.tcp(4003, 80, 1) + REQUEST),
        s.ipv4(there, here, 6, s.tcp(80, 4003, 1) + RESPONSE),
        s.ipv4(here, there, 6, s.tcp(4004, 80, 1) + b"neither"),
    ]
    frames = [s.Frame(1_700_000_000_000_000_000 + i, s.ethernet(p)) for i, p in enumerate(packets)]
    return s.save(tmp_path / "mixed.pcap", s.pcap(frames))


def fields(row: FieldRow) -> dict[str, str]:
    return {name: value for name, value in zip(OWN_FIELDS, row.values, strict=True) if value is not None}


def test_our_own_parsers(mixed: Path) -> None:
    rows = list(application_fields([mixed], Dissection("own")))
    assert [row.packet for row in rows] == [1, 2, 3, 4, 5, 6, 7]
    assert all(row.complete for row in rows)
    found = [fields(row) for row in rows]
    assert found[0] == {"dns.flags.response": "0", "dns.qry.name": "a.example", "dns.qry.type": "1"}
    assert found[1]["dns.a"] == "192.0.2.7"
    assert found[2]["dns.qry.name"] == "a.example,a.example"
    assert found[3] == {
        "tls.handshake.extensions_server_name": "shop.example",
        "tls.handshake.extensions_alpn_str": "h2,http/1.1",
    }
    assert found[4] == {"tls.handshake.extensions_alpn_str": "h2"}
    assert found[5]["http.request.uri"] == "/cart?id=1"
    assert found[5]["http.host"] == "shop.example"
    assert found[6] == {"http.content_length": "0", "http.response.code": "404"}
    assert (rows[5].src, rows[5].sport, rows[5].dport, rows[5].proto) == ("10.0.0.1", 4003, 80, "tcp")


@needs_tshark
def test_all_dissectors_fill_the_same_table(mixed: Path) -> None:
    own, tshark, pyshark = (list(application_fields([mixed], Dissection(d))) for d in ("own", "tshark", "pyshark"))
    assert tshark == pyshark
    assert [row._replace(stream=None, complete=None) for row in own] == [row._replace(stream=None) for row in tshark]


@needs_tshark
def test_pyshark_stops_at_the_limit_and_says_so(mixed: Path) -> None:
    how = Dissection("pyshark", ("dns.qry.name",), "udp", packets=1)
    assert [row.packet for row in application_fields([mixed], how)] == [1]
    assert how.notes == ["pyshark stopped after 1 packets; more pass the filter"]


@needs_tshark
def test_pyshark_leaves_no_process(mixed: Path) -> None:
    before = _children()
    list(application_fields([mixed], Dissection("pyshark", packets=1)))
    with pytest.raises(CaptureError):
        list(application_fields([mixed], Dissection("pyshark", display_filter="dns..x")))
    deadline = time.monotonic() + 5
    while _children() - before and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not _children() - before


def _children() -> set[str]:
    """Processes that read mixed.pcap."""
    listed = subprocess.run(["ps", "-eo", "pid,args"], capture_output=True, text=True, check=True).stdout
    return {line.split()[0] for line in listed.splitlines() if "mixed.pcap" in line and "tshark" in line}


def test_cut_messages_are_marked(tmp_path: Path) -> None:
    packet = s.ethernet(s.ipv4("10.0.0.1", "10.0.0.2", 6, s.tcp(4003, 80, 1) + REQUEST))
    path = s.save(tmp_path / "cut.pcap", s.pcap([s.Frame(1, packet[:110], len(packet))]))
    (row,) = application_fields([path], Dissection("own"))
    assert row.complete is False
    assert fields(row)["http.request.method"] == "GET"


def test_damage_is_noted_and_no_capture_is_an_error(mixed: Path, tmp_path: Path) -> None:
    whole = mixed.read_bytes()
    cut, how = s.save(tmp_path / "cut.pcap", whole[:-5]), Dissection("own")
    assert len(list(application_fields([cut], how))) == 7
    assert "ends inside a record" in how.notes[0]
    with pytest.raises(CaptureError, match="not a pcap"):
        list(
            application_fields(
                [s.save(tmp_path / "letter", b"dear sir or madam, this is no capture")], Dissection("own")
            )
        )


@needs_tshark
def test_tshark_reads_up_to_the_damage(mixed: Path, tmp_path: Path) -> None:
    cut, how = s.save(tmp_path / "cut.pcap", mixed.read_bytes()[:-5]), Dissection("tshark")
    assert len(list(application_fields([cut], how))) == 7
    assert "cut short" in how.notes[0]


def test_the_table_holds_the_rows(mixed: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.parquet"
    assert write_fields([mixed], Dissection("own"), out) == 7
    table = pq.read_table(out)
    assert table.column_names[:4] == ["file", "packet", "ts", "src"]
    assert table.column_names[10:] == list(OWN_FIELDS)
    assert table["http.response.code"].to_pylist()[-1] == "404"


def test_problems_are_told_at_once() -> None:
    found = dissection_problems(Dissection("own", ("smb.cmd",), "ip", packets=0))
    assert [p.where for p in found] == [
        "capture.dissector_packets", "capture.dissector_fields", "capture.dissector_filter"]  # fmt: skip
    assert dissection_problems(Dissection("own")) == []


@needs_tshark
def test_tshark_is_asked_about_fields_and_filter() -> None:
    found = dissection_problems(Dissection("tshark", ("no.such.field", "also.bad"), "ip.src =="))
    assert [p.where for p in found] == ["capture.dissector_fields", "capture.dissector_filter"]
    assert "no.such" in found[0].what
    assert "also.bad" in found[0].what
    assert dissection_problems(Dissection("tshark", ("smb.cmd",), "ip.src == 10.0.0.1")) == []


def test_a_missing_tshark_is_a_problem_with_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    (found,) = dissection_problems(Dissection("tshark"))
    assert "apt-get install tshark" in found.what


@pytest.mark.parametrize(
    ("segment", "uris", "complete"),
    [
        (b"GET /a HTTP/1.1\r\nHost: x\r\n\r\nGET /b HTTP/1.1\r\nHost: y\r\n\r\n", "/a,/b", True),
        (b"POST /a HTTP/1.1\r\nContent-Length: 9\r\n\r\nGET /no H" b"PUT /b HTTP/1.1\r\n\r\nGET /c HTTP/1.1\r\nHo", "/a,/b,/c", False),
        (b"GET /a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nGET /b HTTP/1.1\r\n\r\n", "/a", True),
        (b"GET /a HTTP/1.1\r\n\r\n" * 40, ",".join(["/a"] * 32), True),
    ],
)  # fmt: skip
def test_every_head_of_a_segment_is_read(segment: bytes, uris: str, complete: bool) -> None:
    values, ended = read_http(segment)
    assert (values["http.request.uri"], ended) == (uris, complete)
    assert set(values) <= set(OWN_FIELDS)


def test_answers_in_one_segment() -> None:
    answers = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 304 OK\r\n\r\nHTTP/1.1 200 OK\r\n\r\nHTTP/1.1 500 no\r\n\r\n"
    assert read_http(answers) == ({"http.response.code": "100,304,200"}, True)  # the end of the third is not known


PARSERS = (read_dns, read_dns_stream, read_hello, read_http)
SEEDS = [s.dns("a.example"), answer(), hello(), hello(who=2), REQUEST, RESPONSE]


@settings(max_examples=300, deadline=500)
@given(st.sampled_from(SEEDS), st.data())
def test_nothing_in_a_message_crashes_or_inflates(seed: bytes, data: st.DataObject) -> None:
    """Bytes changed, cut and repeated: no exception, and never more text than a bound that no length field moves."""
    message = bytearray(seed)
    for _ in range(data.draw(st.integers(0, 6))):
        message[data.draw(st.integers(0, len(message) - 1))] = data.draw(st.integers(0, 255))
    message = message[: data.draw(st.integers(0, len(message)))] * data.draw(st.integers(1, 3))
    for parse in PARSERS:
        found, _ = parse(bytes(message))
        assert sum(map(len, found.values())) <= 64 * len(message) + 64


@settings(max_examples=200, deadline=500)
@given(st.binary(max_size=400))
def test_any_bytes_are_survived(message: bytes) -> None:
    for parse in PARSERS:
        found, _ = parse(message)
        assert all(value.isprintable() for value in found.values())


def test_a_message_that_claims_everything_ends_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """65,535 records of one byte each by pointer, and a TLS record full of empty extensions."""
    claims = struct.pack(">HHHHHH", 1, 0x8000, 1, 65535, 65535, 65535) + b"\1a\0\0\1\0\1"
    record = b"\xc0\x0c\0\5\0\1" + struct.pack(">IH", 1, 2) + b"\xc0\x0c"
    looked = _counted(monkeypatch, dns_message, "_record")
    found, whole = read_dns(claims + record * 4000)
    assert found["dns.cname"].count("a") == MAX_RECORDS
    assert not whole
    assert len(looked) == MAX_RECORDS
    taken = _counted(monkeypatch, hello_module._Bytes, "vector")
    read_hello(b"\x16\3\1\x3f\xff\1\0\x3f\xfb\3\3" + bytes(33) + b"\0\0\0\xff\xff" + b"\0\x99\0\0" * 4000)
    assert len(taken) <= hello_module.MAX_EXTENSIONS + 3


def _counted(monkeypatch: pytest.MonkeyPatch, owner: object, name: str) -> list[str]:
    """Grows by an item at each call of a function."""
    calls, original = [], getattr(owner, name)
    monkeypatch.setattr(owner, name, lambda *arguments: (calls.append(name), original(*arguments))[1])
    return calls


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_damaged_captures_do_not_crash_the_pass(data: st.DataObject, tmp_path_factory: pytest.TempPathFactory) -> None:
    packets = [s.ipv4("10.0.0.1", "10.0.0.2", 6, s.tcp(4002, 443, 1) + hello()),
               s.ipv4("10.0.0.1", "10.0.0.2", 17, s.udp(4000, 53, answer()))]  # fmt: skip
    whole = bytearray(s.pcap([s.Frame(i, s.ethernet(p)) for i, p in enumerate(packets)]))
    for _ in range(data.draw(st.integers(1, 8))):
        whole[data.draw(st.integers(24, len(whole) - 1))] = data.draw(st.integers(0, 255))
    path = s.save(tmp_path_factory.mktemp("damaged") / "x.pcap", bytes(whole))
    assert len(list(application_fields([path], Dissection("own")))) <= 4


def test_the_command_lists_and_writes(mixed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fields", str(mixed), "--fields", "http.host"]) == 0
    assert capsys.readouterr().out == "6  1700000000.000000  10.0.0.1:4003 > 10.0.0.2:80 tcp  http.host=shop.example\n"
    assert main(["fields", str(mixed), "-o", str(tmp_path / "x.parquet")]) == 0
    assert pq.read_table(tmp_path / "x.parquet").num_rows == 7
    letter = s.save(tmp_path / "letter.pcap", b"dear sir or madam, this is no capture")
    assert main(["fields", str(letter)]) == main(["fields", str(mixed), "--filter", "ip"]) == 2
    assert "not a pcap" in capsys.readouterr().err
