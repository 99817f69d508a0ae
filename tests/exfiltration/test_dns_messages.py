"""DNS messages against a decoder that was not written here, and many of them against one by one."""

from __future__ import annotations

import numpy as np
import pytest

from mimir.exfiltration import dns_messages as dns
from mimir.exfiltration.channels import dns_tunnel
from tests.exfiltration.exfiltration_samples import tunnel

dpkt = pytest.importorskip("dpkt")


def test_query() -> None:
    parsed = dpkt.dns.DNS(dns.query_message(b"user-db.sock-shop.svc.cluster.local", "AAAA", 0x1234))
    assert (parsed.id, parsed.qr, parsed.rd, parsed.opcode) == (0x1234, 0, 1, 0)
    assert [(q.name, q.type, q.cls) for q in parsed.qd] == [("user-db.sock-shop.svc.cluster.local", 28, 1)]
    assert not parsed.an
    assert not parsed.ns
    assert not parsed.ar


def test_addresses() -> None:
    answers = [dns.address_data("10.96.0.7"), dns.address_data("10.96.0.8")]
    parsed = dpkt.dns.DNS(dns.response_message(b"user.sock-shop", "A", 7, answers, ttl_s=5))
    assert (parsed.id, parsed.qr, parsed.ra, parsed.rcode) == (7, 1, 1, dns.NO_ERROR)
    assert [(rr.name, rr.type, rr.ttl, rr.ip) for rr in parsed.an] == [
        ("user.sock-shop", 1, 5, b"\x0a\x60\x00\x07"),
        ("user.sock-shop", 1, 5, b"\x0a\x60\x00\x08"),
    ]
    six = dpkt.dns.DNS(dns.response_message(b"user.sock-shop", "AAAA", 7, [dns.address_data("fd00::1")]))
    assert six.an[0].ip6 == bytes.fromhex("fd000000000000000000000000000001")


def test_no_such_name() -> None:
    message = dns.response_message(b"user.sock-shop.cluster.local", "A", 9, code=dns.NAME_ERROR, zone=b"cluster.local")
    parsed = dpkt.dns.DNS(message)
    assert (parsed.rcode, parsed.aa, len(parsed.an)) == (dns.NAME_ERROR, 1, 0)
    soa = parsed.ns[0]
    assert (soa.name, soa.type, soa.mname, soa.rname) == (
        "cluster.local",
        6,
        "ns.dns.cluster.local",
        "hostmaster.cluster.local",
    )


@pytest.mark.parametrize("record_type", ["TXT", "A", "CNAME", "NULL"])
def test_the_tunnels_answers(record_type: str) -> None:
    spec = tunnel(record_type=record_type).dns
    assert spec is not None
    name = dns_tunnel.encode(b"stolen", spec, 1, 1)[0]
    record = dpkt.dns.DNS(dns_tunnel.answer(name, spec, 5)).an[0]
    assert (record.name, record.type, record.ttl) == (name.decode(), dns.RECORD_TYPES[record_type], 0)
    alias = dns.wire_name(b"ok.cdn-telemetry.example")
    expected = {"TXT": b"\x02ok", "A": b"\x7f\0\0\x01", "CNAME": alias, "NULL": b"ok"}
    assert record.rdata == expected[record_type]


def test_text_is_cut_into_strings() -> None:
    assert dns.text_data(b"x" * 300) == b"\xff" + b"x" * 255 + b"\x2d" + b"x" * 45
    assert dns.text_data(b"") == b"\0"


@pytest.mark.parametrize("name", [b"", b"a..b", b"x" * 64, b".".join([b"x" * 60] * 5)])
def test_names_that_are_none(name: bytes) -> None:
    with pytest.raises(ValueError, match="is not a name"):
        dns.wire_name(name)


def test_many_at_once() -> None:
    names = [b"user.sock-shop", b"a.b", b"user-db.sock-shop.svc.cluster.local"]
    templates = [dns.query_message(name, "A") for name in names]
    random = np.random.default_rng(1)
    which, ids = random.integers(0, 3, 500), random.integers(0, 65_536, 500)
    data, offsets, lengths = dns.render(templates, which, ids)
    assert (data.dtype, offsets.dtype, lengths.dtype) == (np.uint8, np.int64, np.uint16)
    one_by_one = [dns.query_message(names[k], "A", int(ident)) for k, ident in zip(which, ids, strict=True)]
    assert [data[o : o + n].tobytes() for o, n in zip(offsets, lengths, strict=True)] == one_by_one
    assert data.tobytes() == b"".join(one_by_one)


def test_none_at_once() -> None:
    empty = np.array([], dtype=np.int64)
    data, offsets, lengths = dns.render([dns.query_message(b"a.b", "A")], empty, empty)
    assert (len(data), len(offsets), len(lengths)) == (0, 0, 0)
