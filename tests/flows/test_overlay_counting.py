"""On `any`, a packet between nodes is seen bare (pod side) and in its overlay (uplink): its bytes count once."""

from __future__ import annotations

from pathlib import Path

import pytest

from mimir.capture.batch import FROM_US, TO_US
from tests.capture import capture_samples as s
from tests.flows.flow_samples import ENTITIES, conversation, directly, edges_of, http

NODES = ("192.168.49.2", "192.168.49.3")
UPLINK, VETH, TUNNEL = 2, 11, 12
ONCE = 300 + 5000 + 12 * 40


def through_overlay(frame: s.Frame, kind: str) -> s.Frame:
    """The frame as the uplink sees it: the IP packet of an SLL2 frame between two nodes, 3 µs away in time."""
    packet, missing = frame.data[20:], frame.wire - len(frame.data)
    outgoing = frame.data[10] == TO_US  # to this host from the pod, then on to the other node
    ends = NODES if outgoing else NODES[::-1]
    if kind == "ipip":
        outer = s.ipv4(*ends, 4, packet, wire=len(packet) + missing)
    else:
        body = bytes([8, 0, 0, 0, 0, 0, 1, 0]) + s.ethernet(packet)
        size = len(body) + missing
        outer = s.ipv4(*ends, 17, s.udp(50_123, 8472, body, wire=size), wire=8 + size)
    data = s.sll2(outer, ifindex=UPLINK, direction=FROM_US if outgoing else TO_US)
    return s.Frame(frame.ts_ns + (3_000 if outgoing else -3_000), data, len(data) + missing)


@pytest.mark.parametrize("kind", ["vxlan", "ipip"])
def test_bytes_inside_and_outside_an_overlay_count_once(tmp_path: Path, kind: str) -> None:
    bare = conversation(directly(at=(VETH, TUNNEL))[:1], http())
    frames = sorted([*bare, *(through_overlay(f, kind) for f in bare)], key=lambda f: f.ts_ns)
    result = edges_of(tmp_path, frames, entities=ENTITIES)
    assert list(result.edges()) == [("web-5d9-abcde", "user-7f-xyz12", 8080, "tcp")]
    assert result.total() == ONCE
    assert result.report.copies["interface"] == {"packets": 12, "bytes": ONCE}
    assert result.report.capture.overlays == {kind: 12}


def test_an_uplink_alone_shows_the_pods(tmp_path: Path) -> None:
    bare = conversation(directly(at=(VETH, TUNNEL))[:1], http())
    result = edges_of(tmp_path, [through_overlay(f, "vxlan") for f in bare], entities=ENTITIES)
    assert list(result.edges()) == [("web-5d9-abcde", "user-7f-xyz12", 8080, "tcp")]
    assert (result.total(), result.removed()) == (ONCE, 0)
