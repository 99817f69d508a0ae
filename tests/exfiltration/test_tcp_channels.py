"""Wire shape of https, smtp, drip and slow_headers: sizes computed by hand, and equal to the real bytes."""

from __future__ import annotations

import base64
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from mimir.exfiltration.channels import drip, http_post, https, response_stuffing, slow_headers, smtp, tcp
from mimir.exfiltration.channels.exchange import Exchange
from mimir.exfiltration.plan import Incident, plan_incidents, stolen_bytes
from mimir.exfiltration.validate import problems
from mimir.spec.exfiltration import ExfiltrationSpec, PathClass
from tests.exfiltration.exfiltration_samples import EDGES, SERVICES, scenario


def incident_of(spec: ExfiltrationSpec) -> Incident:
    return plan_incidents(replace(spec, incidents=1, incident_duration_s=60), 0, 600, (1,))[0]


def test_tls_records_add_22_bytes_for_each_16384() -> None:
    plain = np.array([0, 1, 16_384, 16_385, 40_000])
    assert https.protected_bytes(plain).tolist() == [0, 23, 16_406, 16_429, 40_066]


def test_tls_handshakes_are_those_computed_by_hand() -> None:
    tls = scenario("https").tls
    assert tls is not None
    # 127 ServerHello, 6 ChangeCipherSpec, then records of 6, 2900, 264 and 36 bytes; Finished; two tickets of 233
    assert https.handshake(tls, resumed=False) == (Exchange(517, 133 + 28 + 2922 + 286 + 58), Exchange(64, 510))
    assert https.handshake(tls, resumed=True) == (Exchange(517 + 255, 139 + 28 + 58), Exchange(64, 255))


def test_https_is_http_post_in_records() -> None:
    spec = scenario("https")
    incident = incident_of(spec)
    (plain,), (hop,) = http_post.hops(incident, EDGES, "binary"), tcp.hops(spec, incident, EDGES)
    assert (hop.request_bytes - plain.request_bytes).tolist() == [22] * len(hop.request_bytes)
    assert (hop.response_bytes - plain.response_bytes).tolist() == [22] * len(hop.request_bytes)
    assert hop.closing == (Exchange(24, 0),)


@pytest.mark.parametrize("size", [1, 56, 57, 58, 114, 16_384])
def test_mail_bodies_are_lines_of_76(size: int) -> None:
    text = smtp.write_body(bytes(size))
    assert text.endswith(b"\r\n")
    assert {len(line) for line in text.split(b"\r\n")[:-2]} <= {76}
    assert base64.b64decode(text) == bytes(size)
    assert smtp.body_bytes(np.array([size])).tolist() == [len(text)]


def test_the_banner_comes_from_the_server() -> None:
    spec = scenario("smtp")
    (hop,) = tcp.hops(spec, incident_of(spec), EDGES)
    assert hop.opening[0] == Exchange(0, len("220 mail.example ESMTP\r\n"), pushed=True)
    assert hop.before[2].request_bytes == len("DATA\r\n")
    assert hop.closing == (Exchange(6, 15),)


@pytest.mark.parametrize(("size", "head"), [(1, 2), (125, 2), (126, 4), (65_535, 4), (65_536, 10)])
@pytest.mark.parametrize("mask", [None, b"abcd"])
def test_websocket_frames(size: int, head: int, mask: bytes | None) -> None:
    sized = drip.frame_bytes(np.array([size]), masked=mask is not None).tolist()
    assert sized == [head + size + (4 if mask else 0)] == [len(drip.frame(bytes(size), mask))]


def test_a_masked_frame_of_the_rfc() -> None:
    """RFC 6455, 5.7: "Hello", here as a binary frame."""
    masked = drip.frame(b"Hello", bytes.fromhex("37fa213d"))
    assert masked == bytes.fromhex("828537fa213d7f9f4d5158")


def test_cookies_are_as_long_as_the_real_ones() -> None:
    spec = scenario("slow_headers")
    incident = incident_of(spec)
    (pushed,), (pulled,) = (slow_headers.hops(incident, edges) for edges in ([], [("outside", "user-db")]))
    for k, data in enumerate(stolen_bytes(incident)):
        value = slow_headers.write_value(data)
        assert pushed.request_bytes[k] == len(slow_headers.request("outside", value))
        assert pushed.response_bytes[k] == len(slow_headers.response(b""))
        assert pulled.request_bytes[k] == len(slow_headers.request("user-db", b""))
        assert pulled.response_bytes[k] == len(slow_headers.response(value))


def test_stuffed_pages_are_as_long_as_the_real_ones() -> None:
    spec = scenario("response_stuffing")
    assert spec.stuffing is not None
    incident = incident_of(spec)
    *inner, entry = tcp.hops(spec, incident, EDGES)
    assert [hop.carriage for hop in (*inner, entry)] == ["pull"] * 3
    assert set(entry.request_bytes.tolist()) == {len(response_stuffing.request("front-end"))}
    for k, data in enumerate(stolen_bytes(incident)):
        answer = response_stuffing.response(bytes(spec.stuffing.page_bytes), data)
        assert entry.response_bytes[k] == len(answer)
        assert response_stuffing.read_response(answer) == data
    with pytest.raises(ValueError, match="does not end with a comment"):
        response_stuffing.read_response(b"<html></html>")


def test_only_replies_can_be_stuffed() -> None:
    (pushed,) = problems(scenario("response_stuffing"), SERVICES, [*EDGES, ("user-db", "user")])
    assert "has hops that are not replies of an allowed edge" in str(pushed)
    (other,) = problems(scenario("relay_chain", path_class=PathClass.response_stuffing), SERVICES, EDGES)
    assert "path_class does not fit channel http_relay" in str(other)


@pytest.mark.parametrize(
    ("option", "block", "changes", "words"),
    [
        (
            "slow_headers",
            "headers",
            {"value_bytes": 9000},
            "value_bytes is out of range (got 9000) (allowed: 1 … 8162)",
        ),
        ("slow_headers", "headers", {"value_bytes": 0}, "headers.value_bytes is out of range (got 0)"),
        ("slow_headers", "headers", {"value_bytes": 100}, "bytes_per_message does not fit into a header of 100"),
        ("https", "tls", {"messages_per_connection": 0}, "tls.messages_per_connection is out of range (got 0)"),
        ("smtp", "smtp", {"sender": "a b"}, "smtp.sender is not a mail address (got 'a b')"),
    ],
)
def test_parameters_out_of_range(option: str, block: str, changes: dict[str, Any], words: str) -> None:
    spec = scenario(option)
    (problem,) = problems(replace(spec, **{block: replace(getattr(spec, block), **changes)}), SERVICES, EDGES)
    assert words in str(problem)


@pytest.mark.parametrize("option", ["https", "smtp", "slow_headers"])
def test_parameters_belong_to_their_channel(option: str) -> None:
    block = {"slow_headers": "headers"}.get(option, option if option == "smtp" else "tls")
    (missing,) = problems(scenario(option, **{block: None}), SERVICES, EDGES)
    assert f"exfiltration.{block} must be set for channel {option}" in str(missing)
    (unused,) = problems(scenario("direct", **{block: getattr(scenario(option), block)}), SERVICES, EDGES)
    assert f"exfiltration.{block} has no meaning for channel raw_tcp" in str(unused)
