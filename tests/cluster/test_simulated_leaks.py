"""Leaks on the wire: what was stolen is what arrives, on the path and with the framing of its channel."""

from __future__ import annotations

from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from mimir.capture.batch import SYN, UDP
from mimir.cluster.base import Recording, RecordingOrder
from mimir.cluster.simulated.layout import NODE_IF, Layout
from mimir.cluster.simulated.leak import Leak
from mimir.exfiltration.channels import dns_tunnel, http_relay, raw_tcp
from mimir.exfiltration.ledger import LedgerEntry, read_ledger
from mimir.exfiltration.plan import digest, plan_incidents, stolen_bytes
from mimir.files import read_jsonl
from mimir.units import NS_PER_S
from tests.cluster.simulated_samples import SHORT_LEAK, START_S, chosen, make_spec, read_packets

ATTACKER = int(IPv4Address("203.0.113.250"))
SINK = int(IPv4Address("198.51.100.77"))


def entry(recording: Recording) -> LedgerEntry:
    (only,) = read_ledger(recording.truth)
    return only


def pod_ip(recording: Recording, name: str) -> int:
    return next(int(IPv4Address(e["ip"])) for e in read_jsonl(recording.entities) if e["name"] == name)


def payload(packets: dict[str, NDArray[Any]], rows: NDArray[np.bool_]) -> int:
    return int(packets["payload_bytes"][rows].sum())


@pytest.mark.parametrize("name", ["direct", "relay_chain", "dns_tunnel"])
def test_the_ledger_says_what_arrived(leaking: dict[str, Recording], name: str) -> None:
    truth, spec = entry(leaking[name]), make_spec({"exfiltration": SHORT_LEAK}, exfiltration=name).exfiltration
    assert truth.bytes_delivered == truth.bytes_intended == round(spec.rate_bytes_per_min)
    assert truth.sha256_sent == truth.sha256_received
    incident = plan_incidents(spec, START_S, 300, (1, 2))[0]
    assert truth.sha256_sent == digest(stolen_bytes(incident))
    assert truth.path == tuple(spec.path)
    assert truth.recording == "test"
    assert truth.technique == spec.technique
    assert incident.start_s <= truth.start < truth.end < START_S + 300
    times = [at for at, _ in truth.delivered]
    assert np.diff(times).max() < 10
    assert truth.delivered[-1][1] == truth.bytes_delivered


def test_direct_uploads_to_an_address_nobody_knows(leaking: dict[str, Recording]) -> None:
    recording = leaking["direct"]
    p, truth = read_packets(recording), entry(recording)
    assert truth.pods == ("user-db-0", "")
    assert "198.51.100.77" not in {e["ip"] for e in read_jsonl(recording.entities)}
    upload = p["dst"] == SINK
    at_node = p["ifindex"] == NODE_IF
    assert set(p["dport"][upload].tolist()) == {443}
    assert set(p["src"][upload & ~at_node].tolist()) == {pod_ip(recording, "user-db-0")}
    assert set(p["src"][upload & at_node].tolist()) == {int(IPv4Address("192.168.49.2"))}
    messages = -(-truth.bytes_intended // 4096)
    for place in (at_node, ~at_node):
        assert payload(p, upload & place) == truth.bytes_delivered + messages * raw_tcp.FRAME_BYTES
        assert payload(p, (p["src"] == SINK) & place) == messages * raw_tcp.ACKNOWLEDGEMENT_BYTES
        assert int(((p["tcp_flags"] == SYN) & upload & place).sum()) == 1


def test_the_relay_uses_allowed_edges_only_and_carries_every_byte(
    leaking: dict[str, Recording], benign: Recording
) -> None:
    recording = leaking["relay_chain"]
    p, truth = read_packets(recording), entry(recording)
    store, user, front = (pod_ip(recording, name) for name in truth.pods[:3])
    assert truth.pods[0] == "user-db-0"
    assert truth.pods[3] == ""
    before = set(zip(*(read_packets(benign)[k].tolist() for k in ("dst", "dport")), strict=True))
    servers = {(d, s) for d, s in set(zip(p["dst"].tolist(), p["dport"].tolist(), strict=True)) if s < 32_768}
    assert servers <= before  # no server that was not one before
    spec = make_spec({"exfiltration": SHORT_LEAK}, exfiltration="relay_chain").exfiltration
    incident = plan_incidents(spec, START_S, 300, (1, 2))[0]
    hops = http_relay.hops(incident, [("outside", "front-end"), ("front-end", "user"), ("user", "user-db")], "binary")
    out = (p["src"] == int(IPv4Address("192.168.49.2"))) & (p["dst"] == ATTACKER)
    missed = payload(p, out) - int(hops[2].response_bytes.sum())
    assert missed >= 0
    assert missed % 160 == 0  # replies of pods without a relay, on the way to the right one
    asked = payload(p, (p["dst"] == int(IPv4Address("192.168.49.2"))) & (p["src"] == ATTACKER))
    assert asked == int(hops[2].request_bytes.sum()) + missed // 160 * int(hops[2].request_bytes[0])
    benign_p = read_packets(benign)
    for source, target, hop in ((store, user, hops[0]), (user, front, hops[1])):
        more = payload(p, (p["src"] == source) & (p["dst"] == target)) - payload(
            benign_p, (benign_p["src"] == source) & (benign_p["dst"] == target)
        )
        assert more == int(hop.response_bytes.sum())


def test_a_relay_passes_data_on_only_after_it_has_it(leaking: dict[str, Recording]) -> None:
    truth = entry(leaking["relay_chain"])
    spec = make_spec({"exfiltration": SHORT_LEAK}, exfiltration="relay_chain").exfiltration
    incident = plan_incidents(spec, START_S, 300, (1, 2))[0]
    left = np.repeat(incident.message_ns, incident.message_bytes) / NS_PER_S
    for at, count in truth.delivered:
        assert at > left[count - 1]


def test_tunnel_names_hold_the_data_and_every_one_goes_outside(leaking: dict[str, Recording]) -> None:
    recording = leaking["dns_tunnel"]
    p, truth = read_packets(recording), entry(recording)
    spec = make_spec(exfiltration="dns_tunnel").exfiltration.dns
    assert spec is not None
    udp = chosen(p, (p["proto"] == UDP) & (p["dport"] == 53))
    ours = np.array([b"cdn-telemetry" in m for m in udp["message"]])
    names = [_text(m) for m in udp["message"][ours & (udp["ifindex"] == NODE_IF)]]
    assert digest([dns_tunnel.decode(names, spec)]) == truth.sha256_sent
    assert len(set(names)) == len(names)
    assert int(ours.sum()) == 4 * len(names)  # two places to kube-dns, two places from there
    store = pod_ip(recording, truth.pods[0])
    assert truth.pods[1] in ("kube-dns-0", "kube-dns-1")
    assert set(udp["src"][ours].tolist()) == {store, pod_ip(recording, truth.pods[1]), int(IPv4Address("192.168.49.2"))}
    resolver = int(IPv4Address("192.0.2.53"))
    assert set(p["dst"][p["ifindex"] == NODE_IF][p["dport"][p["ifindex"] == NODE_IF] == 53].tolist()) == {resolver}


def test_what_is_still_on_its_way_when_the_recording_ends_is_not_delivered(tmp_path: Path) -> None:
    spec = make_spec({"exfiltration": SHORT_LEAK}, exfiltration="relay_chain")
    assert spec.cluster.name == "simulated"
    order = RecordingOrder("test", START_S, 300, (1, 2), True, tmp_path)
    incident = plan_incidents(spec.exfiltration, START_S, 300, (1, 2))[0]
    middle_ns = int(incident.message_ns[len(incident.message_ns) // 2])
    leak = Leak(spec, Layout(spec.app, spec.cluster), order, [], np.random.SeedSequence(1))
    leak.slice(middle_ns)
    (truth,) = leak.ledger()
    assert 0 < truth.bytes_delivered < truth.bytes_intended
    assert truth.sha256_received == truth.sha256_sent
    leak._end_ns = (
        int(truth.delivered[-2][0] * NS_PER_S) + 1
    )  # the recording ends here: later chunks are still in a relay
    (cut,) = leak.ledger()
    assert cut.bytes_delivered < truth.bytes_delivered
    assert cut.sha256_received != cut.sha256_sent


def test_leaks_take_other_pods_when_there_are_several(tmp_path: Path) -> None:
    spec = make_spec({"exfiltration": SHORT_LEAK}, exfiltration="relay_chain")
    assert spec.cluster.name == "simulated"
    order = RecordingOrder("test", START_S, 300, (1, 2), True, tmp_path)
    seen = set()
    for seed in range(20):
        leak = Leak(spec, Layout(spec.app, spec.cluster), order, [], np.random.SeedSequence(seed))
        seen.add(leak._acts[0].pods)
    assert {pods[1] for pods in seen} == {"user-0", "user-1", "user-2"}
    assert {pods[2] for pods in seen} == {"front-end-0", "front-end-1", "front-end-2"}


def _text(message: bytes) -> bytes:
    labels, at = [], 12
    while message[at]:
        labels.append(message[at + 1 : at + 1 + message[at]])
        at += 1 + message[at]
    return b".".join(labels)


@pytest.mark.parametrize(
    "changes",
    [
        {"path": ["orders-db", "payment", "outside"], "port": 8443},
        {"path": ["orders-db", "orders", "front-end", "outside"], "path_class": "allowed_chain", "port": None},
        {"path": ["carts-db", "carts", "outside"], "bytes_per_message": 100_000},
        {"path": ["user-db", "user", "front-end", "outside"], "channel": "http_relay", "body": "base64",
         "path_class": "allowed_chain"},
    ],
)  # fmt: skip
def test_any_path_carries_every_byte(tmp_path: Path, changes: dict[str, Any]) -> None:
    """Pushed, pulled and new hops in one path, over raw TCP and HTTP."""
    spec = make_spec({"exfiltration": {**SHORT_LEAK, **changes}}, exfiltration="direct")
    assert spec.cluster.name == "simulated"
    order = RecordingOrder("test", START_S, 300, (1, 2), True, tmp_path)
    leak = Leak(spec, Layout(spec.app, spec.cluster), order, [], np.random.SeedSequence(1))
    packets = np.concatenate([piece for k in range(5) for piece in leak.slice((START_S + 60 * (k + 1)) * NS_PER_S)])
    (truth,) = leak.ledger()
    assert truth.bytes_delivered == truth.bytes_intended == 100_000
    assert truth.sha256_received == truth.sha256_sent
    assert packets["payload"].sum() > 2 * 100_000 * (len(truth.path) - 1)  # each hop at two places
