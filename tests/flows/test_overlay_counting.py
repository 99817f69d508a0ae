"""On `any`, a packet between nodes is seen bare (pod side) and in its overlay (uplink): its bytes count once."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from mimir.capture import open_capture
from mimir.capture.batch import FROM_US, TO_US
from mimir.capture.tunnels import MAX_TUNNELS
from mimir.flows.records import export_flows
from tests.capture import capture_samples as s
from tests.flows.flow_samples import ENTITIES, START_NS, conversation, directly, edges_of, http

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


@pytest.mark.parametrize(("kind", "number"), [("vxlan", 1), ("ipip", None)])
@pytest.mark.parametrize("first", [0, 1])
def test_the_outer_pair_is_kept_with_the_flow(tmp_path: Path, kind: str, number: int | None, first: int) -> None:
    """Also when the bare packets are those that count, and when an answer is the first packet seen in the tunnel."""
    bare = conversation(directly(at=(VETH, TUNNEL))[:1], http())
    wrapped = [through_overlay(f, kind) for f in bare][first:]
    frames = sorted([*bare, *wrapped], key=lambda f: f.ts_ns)
    s.save(tmp_path / "x.pcap", s.pcap(frames, s.SLL2))
    assert export_flows([tmp_path / "x.pcap"], None, 300.0, tmp_path / "f.parquet").flows == 1
    (flow,) = pq.read_table(tmp_path / "f.parquet").to_pylist()
    assert (flow["id.orig_h"], flow["id.resp_h"]) == ("10.244.1.5", "10.244.2.7")
    assert (flow["tunnel_type"], flow["tunnel_id"]) == (kind, number)
    assert (flow["tunnel_orig_h"], flow["tunnel_resp_h"]) == NODES
    assert flow["orig_ip_bytes"] + flow["resp_ip_bytes"] == ONCE


def test_a_flow_without_a_tunnel_has_no_outer_pair(tmp_path: Path) -> None:
    s.save(tmp_path / "x.pcap", s.pcap(conversation(directly(), http()), s.SLL2))
    export_flows([tmp_path / "x.pcap"], None, 300.0, tmp_path / "f.parquet")
    (flow,) = pq.read_table(tmp_path / "f.parquet").to_pylist()
    assert [flow[name] for name in flow if name.startswith("tunnel")] == [None] * 4


def test_more_tunnels_than_can_be_remembered(tmp_path: Path) -> None:
    """A flood of forged outer addresses costs no memory; what it carries is still counted."""
    inner = s.ipv4("10.0.0.1", "10.0.0.2", 17, s.udp(1, 2, b"x"))
    frames = [
        s.Frame(START_NS + n, s.ethernet(s.ipv4(f"172.16.{n >> 8}.{n & 255}", "172.31.0.1", 4, inner)))
        for n in range(6000)
    ]
    capture = open_capture(s.save(tmp_path / "x.pcap", s.pcap(frames, s.ETHERNET)))
    numbers = [n for batch in capture for n in batch.tunnel.tolist()]
    assert len(numbers) == capture.counts.overlays["ipip"] == 6000
    assert len({n for n in numbers if n >= 0}) == int((capture.tunnels["kind"] >= 0).sum()) == MAX_TUNNELS
    assert min(numbers) == -1


def test_network_identifiers(tmp_path: Path) -> None:
    inner = s.ipv4("10.0.0.1", "10.0.0.2", 17, s.udp(1, 2, b"x"))
    geneve = bytes([0, 0, 0x08, 0x00, 0, 0, 77, 0]) + inner
    key = (4711).to_bytes(4, "big")
    outer = [
        s.ipv4(*NODES, 17, s.udp(5, 6081, geneve)),
        s.ipv4(*NODES, 47, bytes([0x20, 0, 8, 0]) + key + inner),
        s.ipv4(*NODES, 47, bytes([0xA0, 0, 8, 0, 0, 0, 0, 0]) + key + inner),
        s.ipv4(*NODES, 47, bytes([0x30, 0x81, 8, 0]) + key + bytes(8) + inner),
        s.ipv4(*NODES, 47, bytes([0, 0, 8, 0]) + inner),
    ]
    frames = [s.Frame(START_NS + n, s.ethernet(packet)) for n, packet in enumerate(outer)]
    capture = open_capture(s.save(tmp_path / "x.pcap", s.pcap(frames, s.ETHERNET)))
    (batch,) = capture
    assert capture.tunnels[batch.tunnel]["identifier"].tolist() == [77, 4711, 4711, 4711, -1]
    assert capture.counts.overlays == {"geneve": 1, "gre": 4}
