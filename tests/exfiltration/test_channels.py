"""TCP channels: the sizes that a simulation uses are those of the bytes that agents write."""

from __future__ import annotations

from http.client import HTTPResponse
from io import BytesIO
from typing import Any

import numpy as np
import pytest

from mimir.exfiltration.channels import http_relay, raw_tcp
from mimir.exfiltration.plan import Incident, plan_incidents, stolen_bytes
from tests.exfiltration.exfiltration_samples import EDGES, scenario


def incident_of(sizes: list[int], path: tuple[str, ...] = ("user-db", "user", "front-end", "outside")) -> Incident:
    spec = scenario("relay_chain", incidents=1)
    (planned,) = plan_incidents(spec, 0, 7200, (1,))
    values = {name: getattr(planned, name) for name in planned.__dataclass_fields__}
    return Incident(**{**values, "path": path, "message_bytes": np.array(sizes, dtype=np.int64)})


SIZES = [1, 2, 3, 9, 10, 99, 100, 101, 4096, 9_999, 10_000, 123_456]


@pytest.mark.parametrize("body", ["binary", "base64"])
def test_http_sizes_are_those_of_the_real_bytes(body: http_relay.Body) -> None:
    incident = incident_of(SIZES)
    pulled = http_relay.hops(incident, EDGES, body)
    pushed = http_relay.hops(incident, [edge[::-1] for edge in EDGES], body)
    sides = [("user-db", "user"), ("user", "front-end"), ("front-end", "outside")]
    assert [(hop.server, hop.client) for hop in pulled] == sides
    assert [(hop.client, hop.server) for hop in pushed] == sides
    for k, data in enumerate(stolen_bytes(incident)):
        content = http_relay.write_body(data, body)
        assert http_relay.read_body(content, body) == data
        for pull, push in zip(pulled, pushed, strict=True):
            assert pull.request_bytes[k] == len(http_relay.get_head(pull.server))
            assert pull.response_bytes[k] == len(http_relay.response_head(len(content), body) + content)
            assert push.request_bytes[k] == len(http_relay.post_head(push.server, len(content), body) + content)
            assert push.response_bytes[k] == len(http_relay.response_head(0, body))


class _Socket:
    def __init__(self, content: bytes):
        self._content = content

    def makefile(self, *_: Any, **__: Any) -> BytesIO:
        return BytesIO(self._content)


@pytest.mark.parametrize("content", [b"", b"stolen bytes"])
def test_responses_are_http(content: bytes) -> None:
    response = HTTPResponse(_Socket(http_relay.response_head(len(content), "binary") + content))  # type: ignore[arg-type]
    response.begin()
    assert (response.status, response.read()) == (200 if content else 204, content)


def test_raw_frames_read_back_from_any_cut() -> None:
    messages = [(7, k, bytes([k]) * k) for k in range(5)]
    stream = b"".join(raw_tcp.frame(data, session, sequence) for session, sequence, data in messages)
    for cut in range(len(stream) + 1):
        first, rest = raw_tcp.unframe(stream[:cut])
        second, left = raw_tcp.unframe(rest + stream[cut:])
        assert first + second == messages
        assert left == b""
    with pytest.raises(ValueError, match="no frame at byte 0"):
        raw_tcp.unframe(b"x" + stream)


def test_raw_sizes_are_those_of_the_real_bytes() -> None:
    incident = incident_of(SIZES, ("user-db", "outside"))
    (upload,) = raw_tcp.hops(incident, EDGES)
    assert (upload.client, upload.server) == ("user-db", "outside")
    frames = [len(raw_tcp.frame(data, 1, k)) for k, data in enumerate(stolen_bytes(incident))]
    assert upload.request_bytes.tolist() == frames
    assert set(upload.response_bytes.tolist()) == {len(raw_tcp.acknowledgement(1, 2))}
    (pulled,) = raw_tcp.hops(incident, [("outside", "user-db")])
    assert pulled.client == "outside"
    assert pulled.response_bytes.tolist() == frames
