"""ICMP and DNS around kube-dns in the simulated cluster, pod addresses, fans, and captures that keep what leaks carry."""

from __future__ import annotations

from collections import Counter
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mimir.apps.graph import allowed_edges
from mimir.capture.batch import ICMP, UDP
from mimir.cluster.base import RecordingOrder
from mimir.cluster.simulated.layout import NODE_IF, Layout
from mimir.cluster.simulated.leak import Leak
from mimir.cluster.simulated.tables import Rows
from mimir.exfiltration.channels import dns_tunnel, icmp, raw_tcp
from mimir.exfiltration.ledger import LedgerEntry, read_ledger
from mimir.exfiltration.plan import World, plan_incidents
from mimir.spec import Spec
from mimir.units import NS_PER_S
from tests.cluster.simulated_samples import SHORT_LEAK, START_S, make_recording, make_spec, read_packets

SINK, RESOLVER = int(IPv4Address("198.51.100.77")), int(IPv4Address("192.0.2.53"))
STORAGE = int(IPv4Address("192.0.2.92"))


def acted(folder: Path, option: str, **changes: Any) -> tuple[Rows, LedgerEntry, list[bytes], Spec]:
    """All packets of one incident, the ledger, the messages that packets point to, the spec."""
    leak_changes = {**SHORT_LEAK, **changes.pop("exfiltration", {})}
    spec = make_spec({"exfiltration": leak_changes, "cluster": {"transport": {"retransmit_probability": 0}}, **changes},
                     exfiltration=option)  # fmt: skip
    assert spec.cluster.name == "simulated"
    order, messages = RecordingOrder("test", START_S, 300, (1, 2), True, folder), list[bytes]()
    leak = Leak(spec, Layout(spec.app, spec.cluster), order, messages, np.random.SeedSequence(1))
    rows = np.concatenate([piece for k in range(5) for piece in leak.slice((START_S + 60 * (k + 1)) * NS_PER_S)])
    (truth,) = leak.ledger()
    assert truth.bytes_delivered == truth.bytes_intended
    assert truth.sha256_received == truth.sha256_sent
    return rows, truth, messages, spec


def test_echoes_come_back_as_they_are(tmp_path: Path) -> None:
    rows, truth, messages, spec = acted(tmp_path, "icmp", capture={"payload": "all"})
    assert set(rows["proto"].tolist()) == {ICMP}
    assert truth.path == ("user-db", "outside")
    outside = rows[rows["ifindex"] == NODE_IF]
    asked, told = outside[outside["dst"] == SINK], outside[outside["src"] == SINK]
    for column in ("seq", "ack", "payload", "message"):
        assert asked[column].tolist() == told[column].tolist()
    assert (told["ts"] > asked["ts"]).all()
    assert icmp.decode(messages[number] for number in asked["message"]) == b"".join(
        messages[number][icmp.PREFIX_BYTES :] for number in asked["message"]
    )
    framing = icmp.PREFIX_BYTES * len(asked)
    assert int(asked["payload"].sum()) == truth.bytes_delivered + framing
    assert spec.exfiltration.icmp is not None
    assert int(asked["payload"].max()) <= spec.exfiltration.icmp.payload_bytes
    beside_the_pod = rows[rows["ifindex"] != NODE_IF]
    assert Counter(beside_the_pod["payload"].tolist()) == Counter(outside["payload"].tolist())


def test_without_payload_in_the_capture_no_content_is_kept(tmp_path: Path) -> None:
    for option in ("icmp", "direct"):
        rows, _, messages, _ = acted(tmp_path, option)
        assert messages == []
        assert set(rows["message"].tolist()) == {-1}


def test_names_go_straight_to_the_outside_resolver(tmp_path: Path) -> None:
    rows, truth, messages, spec = acted(tmp_path, "dns_direct")
    assert set(rows["proto"].tolist()) == {UDP}
    assert truth.path == ("user-db", "outside")
    outside = rows[rows["ifindex"] == NODE_IF]
    asked, told = outside[outside["dst"] == RESOLVER], outside[outside["src"] == RESOLVER]
    assert len(asked) == len(told) == len(rows) // 4
    assert asked["seq"].tolist() == told["seq"].tolist()  # transaction ids
    assert spec.exfiltration.dns is not None
    names = [_name(messages[number]) for number in asked["message"]]
    assert len(dns_tunnel.decode(names, spec.exfiltration.dns)) == truth.bytes_delivered
    assert [len(messages[number]) for number in told["message"]] == told["payload"].tolist()
    grown = told["payload"].astype(int) - asked["payload"]
    assert (grown > 0.8 * asked["payload"].astype(int) * 0.7).all()  # about as much comes back


def test_the_storage_service_is_looked_up_and_reached_by_its_address(tmp_path: Path) -> None:
    rows, truth, messages, _ = acted(tmp_path, "cloud_storage")
    assert truth.path_class == "allowed_outside"
    asked = {_name(messages[n]) for n in np.unique(rows["message"][rows["message"] >= 0]) if messages[n][2] & 0x80 == 0}
    assert b"backup.example.net" in asked
    upload = rows[(rows["dst"] == STORAGE) & (rows["ifindex"] == NODE_IF)]
    assert set(upload["dport"].tolist()) == {443}
    assert truth.bytes_delivered < int(upload["payload"].sum()) < 1.05 * truth.bytes_delivered
    assert not (rows["dst"] == SINK).any()


@pytest.mark.parametrize("address", ["service", "pod"])
def test_relays_use_the_address_they_are_told(tmp_path: Path, address: str) -> None:
    rows, truth, _, spec = acted(tmp_path, "relay_chain", exfiltration={"address": address})
    assert spec.cluster.name == "simulated"
    layout = Layout(spec.app, spec.cluster)
    services = {layout.service_ip[name] for name in ("user-db", "user")}
    used = {int(ip) for ip in rows["dst"]} & services
    assert used == (services if address == "service" else set())
    pods = {pod.ip: pod.name for pod in layout.pods}
    reached = {pods[int(ip)] for ip in rows["dst"] if int(ip) in pods}
    if address == "pod":
        assert reached >= {*truth.pods[:2]}


def test_incidents_take_both_addresses_in_turn() -> None:
    spec = make_spec({"exfiltration": {"address": "both"}}, exfiltration="relay_chain")
    incidents = plan_incidents(spec.exfiltration, START_S, 3600, (1, 2), World(allowed_edges(spec.app)))
    assert [incident.by_pod for incident in incidents] == [False, True, False]


def test_one_store_feeds_several_relays(tmp_path: Path) -> None:
    more = {"services": {"user": {"replicas": 3}}}
    rows, truth, _, spec = acted(tmp_path, "fan_out", **{"app": more})
    assert [name for name in truth.path if name == "user"] == ["user"] * 3
    assert truth.path[0] == "user-db"
    assert truth.path.count("user-db") == 1
    relays = {pod for pod in truth.pods if pod.startswith("user-") and not pod.startswith("user-db")}
    assert relays == {"user-0", "user-1", "user-2"}
    assert spec.cluster.name == "simulated"
    shares = _sent_by(rows, Layout(spec.app, spec.cluster), relays)
    assert min(shares) > 0.25 * sum(shares)


def test_several_stores_feed_one_relay(tmp_path: Path) -> None:
    rows, truth, _, spec = acted(tmp_path, "fan_in")
    assert set(truth.path[:2]) == {"user-db", "orders-db"}
    assert truth.path.count("front-end") == 1
    assert spec.cluster.name == "simulated"
    shares = _sent_by(rows, Layout(spec.app, spec.cluster), {"user-db-0", "orders-db-0"})
    assert min(shares) > 0.25 * sum(shares)


@pytest.mark.parametrize("option", ["icmp", "dns_direct", "cloud_storage", "fan_in", "fan_out", "pod_chain"])
def test_the_same_seed_gives_the_same_packets(tmp_path: Path, option: str) -> None:
    first, second = (acted(tmp_path, option) for _ in range(2))
    fields = [name for name in first[0].dtype.names or () if name != "_"]
    assert first[0][fields].tolist() == second[0][fields].tolist()
    assert first[1:3] == second[1:3]


def _sent_by(rows: Rows, layout: Layout, names: set[str]) -> list[int]:
    """Payload bytes that each of these pods sends, in the order of their names."""
    ips = {pod.name: pod.ip for pod in layout.pods}
    return [int(rows["payload"][rows["src"] == ips[name]].sum()) for name in sorted(names)]


def _name(message: bytes) -> bytes:
    labels, at = [], 12
    while message[at]:
        labels.append(message[at + 1 : at + 1 + message[at]])
        at += 1 + message[at]
    return b".".join(labels)


def test_payload_in_the_capture_changes_no_packet(tmp_path: Path) -> None:
    captures = []
    for payload in ("dns", "all"):
        changes = {"exfiltration": SHORT_LEAK, "load": {"users": 2},
                   "capture": {"payload": payload, "snaplen_bytes": 65_535}}  # fmt: skip
        captures.append(make_recording(make_spec(changes, exfiltration="direct"), tmp_path / payload))
    plain, full = (read_packets(recording) for recording in captures)
    for column in plain:
        assert plain[column].tolist() == full[column].tolist()
    short, long = (recording.captures[0].read_bytes() for recording in captures)
    assert raw_tcp.MAGIC not in short
    (truth,) = read_ledger(captures[1].truth)
    copies = 2  # beside the pod and at the node
    assert long.count(raw_tcp.MAGIC) >= copies * truth.bytes_delivered // 4096
