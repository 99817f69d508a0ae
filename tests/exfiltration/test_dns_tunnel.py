"""Stolen bytes → query names → stolen bytes."""

from __future__ import annotations

import random
from dataclasses import replace

import dpkt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mimir.exfiltration.channels import dns_tunnel
from mimir.exfiltration.dns_messages import RECORD_TYPES, query_message
from mimir.spec.exfiltration import DnsTunnelSpec
from tests.exfiltration.exfiltration_samples import tunnel


@st.composite
def specs(draw: st.DrawFn) -> DnsTunnelSpec:
    domain = draw(st.sampled_from(["a.b", "cdn-telemetry.example", "x" * 63 + ".example"]))
    return DnsTunnelSpec(
        domain=domain,
        record_type=draw(st.sampled_from(["TXT", "A", "CNAME", "NULL"])),
        encoding=draw(st.sampled_from(["base32", "base64url", "hex"])),
        resolver="cluster",
        answer=draw(st.sampled_from(["short", "matching"])),
        label_bytes=draw(st.integers(4, 63)),
        name_bytes=draw(st.integers(len(domain) + 20, 253)),
    )


@settings(deadline=None, max_examples=200)
@given(spec=specs(), data=st.binary(max_size=2000), session=st.integers(0, 65_535), first=st.integers(0, 2**32 - 1))
def test_round_trip_whatever_the_order_and_the_repeats(
    spec: DnsTunnelSpec, data: bytes, session: int, first: int
) -> None:
    names = dns_tunnel.encode(data, spec, session, first)
    assert all(len(name) <= spec.name_bytes for name in names)
    head = [name.removesuffix(b"." + spec.domain.encode()).split(b".") for name in names]
    assert all(0 < len(label) <= spec.label_bytes for labels in head for label in labels)
    assert len(set(names)) == len(names)
    shuffled = [*names, *names[:3]]
    random.Random(session).shuffle(shuffled)
    if spec.encoding != "base64url":  # whose capitals matter
        shuffled = [name.upper() for name in shuffled]
    assert dns_tunnel.decode([name + b"." for name in shuffled], spec) == data


@settings(deadline=None, max_examples=200)
@given(spec=specs(), data=st.binary(min_size=1, max_size=300))
def test_answers_fit_a_plain_datagram_and_match_the_name(spec: DnsTunnelSpec, data: bytes) -> None:
    name = dns_tunnel.encode(data, spec, 1, 0)[0]
    told = dns_tunnel.answer(name, spec)
    answers = dpkt.dns.DNS(told).an
    assert len(told) <= dns_tunnel.PLAIN_BYTES
    assert {rr.type for rr in answers} == {RECORD_TYPES[spec.record_type]}
    carried = len(name) - len(spec.domain) - 1
    room = dns_tunnel.PLAIN_BYTES - len(query_message(name, spec.record_type))
    told_bytes = len(told) - len(query_message(name, spec.record_type)) - 12 * len(answers)
    if spec.answer == "matching" and carried * 4 + 16 < room:
        assert carried <= told_bytes <= carried + len(spec.domain) + 4
    elif spec.answer == "short":
        assert told_bytes <= len(spec.domain) + 5


@given(spec=specs())
def test_capacity_is_the_most_that_fits(spec: DnsTunnelSpec) -> None:
    size = dns_tunnel.name_capacity(spec)
    assert len(dns_tunnel.encode(bytes(size), spec, 0, 0)) == 1
    assert len(dns_tunnel.encode(bytes(size + 1), spec, 0, 0)) == 2
    looser = replace(spec, name_bytes=400)
    assert len(dns_tunnel.encode(bytes(size + 1), looser, 0, 0)[0]) > spec.name_bytes


def test_one_message_of_the_option_is_one_name() -> None:
    spec = tunnel()
    assert spec.dns is not None
    assert dns_tunnel.name_capacity(spec.dns) == spec.bytes_per_message


def test_what_is_not_ours_or_not_whole_is_said() -> None:
    spec = tunnel().dns
    assert spec is not None
    names = dns_tunnel.encode(bytes(2000), spec, 1, 5)
    with pytest.raises(ValueError, match="missing sequence numbers 7 … 8, 10 … 10"):
        dns_tunnel.decode([*names[:2], names[4], *names[6:]], spec)
    with pytest.raises(ValueError, match="not a name under"):
        dns_tunnel.decode([b"www.example.org"], spec)
    with pytest.raises(ValueError, match=r"2 sessions: \[1, 2\]"):
        dns_tunnel.decode([*names, *dns_tunnel.encode(b"x", spec, 2, 50)], spec)
    with pytest.raises(ValueError, match="does not hold base32"):
        dns_tunnel.decode([b"1." + spec.domain.encode()], spec)
    with pytest.raises(ValueError, match="holds 5 bytes"):
        dns_tunnel.decode([b"aaaaaaaa." + spec.domain.encode()], spec)


def test_no_room_is_an_error() -> None:
    spec = tunnel(name_bytes=30).dns
    assert spec is not None
    with pytest.raises(ValueError, match="no room"):
        dns_tunnel.encode(b"x", spec, 0, 0)
