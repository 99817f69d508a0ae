"""Recordings as a whole: byte-identical under a seed, complete, on the load's profile, and without side effects."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pydantic import TypeAdapter

from mimir.capture.batch import SYN
from mimir.cluster.base import Recording, RecordingOrder
from mimir.cluster.registry import create_cluster
from mimir.cluster.simulated import SimulatedCluster
from mimir.cluster.simulated.check import check_cluster
from mimir.files import read_jsonl
from mimir.spec.app import AppSpec
from tests.cluster.simulated_samples import (
    SHORT_LEAK,
    START_S,
    chosen,
    make_recording,
    make_spec,
    merged,
    option,
    read_packets,
    toy_app,
)  # fmt: skip

FILES = ("capture/test.pcap", "entities.jsonl", "timeline.jsonl", "truth.jsonl")
LEAKING = {"load": {"users": 10}, "exfiltration": SHORT_LEAK}


def digests(folder: Path) -> dict[str, str]:
    return {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in FILES}


def test_same_spec_and_order_give_the_same_bytes_in_another_process(tmp_path: Path) -> None:
    make_recording(make_spec(LEAKING, exfiltration="relay_chain"), tmp_path / "here")
    code = (
        "import sys, pathlib; from tests.cluster.simulated_samples import *;"
        f"make_recording(make_spec({LEAKING!r}, exfiltration='relay_chain'), pathlib.Path(sys.argv[1]))"
    )
    root = Path(__file__).resolve().parents[2]
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "there")], check=True, cwd=root)
    assert digests(tmp_path / "here") == digests(tmp_path / "there")


def test_other_entropy_gives_other_packets_in_the_same_cluster(tmp_path: Path) -> None:
    spec = make_spec({"load": {"users": 10}})
    first = make_recording(spec, tmp_path / "a", 60, (1, 0))
    second = make_recording(spec, tmp_path / "b", 60, (1, 1))
    assert first.counts["sha256"] != second.counts["sha256"]
    assert first.entities.read_bytes() == second.entities.read_bytes()


def test_a_leak_only_adds_packets(benign: Recording, leaking: dict[str, Recording]) -> None:
    """Benign traffic is the same packet for packet whether or not data leaks, so that runs can be compared in pairs."""
    keys = ("ts_ns", "src", "dst", "sport", "dport", "tcp_seq", "ip_id", "ifindex", "ip_bytes")

    def rows(recording: Recording) -> Counter[tuple[int, ...]]:
        packets = read_packets(recording)
        return Counter(zip(*(packets[k].tolist() for k in keys), strict=True))

    without = rows(benign)
    for name, recording in leaking.items():
        more = rows(recording)
        assert not without - more, name
        assert sum((more - without).values()) > 50


def test_benign_recordings_have_an_empty_ledger(benign: Recording) -> None:
    assert benign.truth.read_text() == ""


def test_an_order_that_must_not_leak_does_not(tmp_path: Path, benign: Recording) -> None:
    spec = make_spec(
        {"load": {"users": 40}, "cluster": {"transport": {"retransmit_probability": 0.0}}}, exfiltration="direct"
    )
    (tmp_path / "fit").mkdir()
    order = RecordingOrder("fit", START_S, 300, (1, 2), False, tmp_path / "fit")
    recording = SimulatedCluster(spec).record(order, lambda seconds, packets: None)
    assert recording.captures[0].name == "fit.pcap"
    assert recording.captures[0].read_bytes() == benign.captures[0].read_bytes()


def test_progress_is_reported_and_rises(tmp_path: Path) -> None:
    seen: list[tuple[float, int]] = []
    order = RecordingOrder("test", START_S, 150, (1, 2), False, tmp_path)
    recording = SimulatedCluster(make_spec({"load": {"users": 5}})).record(order, lambda s, n: seen.append((s, n)))
    assert [seconds for seconds, _ in seen] == [60, 120, 150]
    assert seen[-1][1] == recording.counts["packets"]
    assert seen == sorted(seen)


def test_the_timeline_has_every_step_of_the_day(tmp_path: Path) -> None:
    spec = make_spec({"load": {"users": 100, "day_s": 240}, "exfiltration": SHORT_LEAK}, exfiltration="direct")
    lines = read_jsonl(make_recording(spec, tmp_path, 300).timeline)
    assert [line["ts"] for line in lines] == sorted(line["ts"] for line in lines)
    assert lines[0] == {"ts": START_S, "event": "recording_started", "recording": "test"}
    assert lines[-1] == {"ts": START_S + 300, "event": "recording_ended", "recording": "test"}
    users = [line["users"] for line in lines if line["event"] == "users"]
    assert users == [round(p) for p in [*spec.load.profile, *spec.load.profile[:6]]]
    events = Counter(line["event"] for line in lines)
    assert events["incident_started"] == events["incident_ended"] == 1


def test_entities_follow_the_application(benign: Recording) -> None:
    lines = read_jsonl(benign.entities)
    spec = make_spec()
    pods = Counter(line["workload"] for line in lines if line["kind"] == "pod")
    assert pods == {**{name: s.replicas for name, s in spec.app.services.items()}, "kube-dns": 2}
    services = {line["name"]: line for line in lines if line["kind"] == "service"}
    assert services["front-end"]["ports"] == {"80": 8079}
    assert services["front-end"]["node_ports"] == {"30001": 8079}
    addresses = [line["ip"] for line in lines]
    assert len(set(addresses)) == len(addresses)
    assert {line["name"]: line["ip"] for line in lines if line["kind"] == "external"} == {
        "clients": "203.0.113.0/24", "resolver": "192.0.2.53",
    }  # fmt: skip


def requests_per_step(packets: dict[str, NDArray[Any]], width_s: int) -> NDArray[np.int64]:
    asked = (packets["dport"] == 30001) & (packets["payload_bytes"] > 0)
    return np.bincount((packets["ts_ns"][asked] // 10**9 - START_S) // width_s)


def test_traffic_follows_the_profile(tmp_path: Path) -> None:
    changes = {"load": {"users": 150, "day_s": 600, "pace_sigma": 0.0, "profile": [100.0] * 8 + [40.0] * 16}}
    packets = read_packets(make_recording(make_spec(changes), tmp_path, 600))
    count = requests_per_step(packets, 25)
    assert np.mean(count[10:23]) / np.mean(count[:7]) == pytest.approx(0.4, abs=0.06)


def test_one_purchase_causes_the_calls_of_the_model(tmp_path: Path) -> None:
    """Only `buy` runs: connections on per-request edges are counted exactly as often as the call tree says."""
    changes = {"load": {"users": 30, "mix": {"buy": 1.0}, "profile": [100.0] * 24},
               "cluster": {"transport": {"retransmit_probability": 0.0}}}  # fmt: skip
    spec = make_spec(changes)
    recording = make_recording(spec, tmp_path, 300)
    p = read_packets(recording)
    ips = {line["name"]: line["ip"] for line in read_jsonl(recording.entities) if line["kind"] == "service"}

    def opened(client: str, server: str) -> int:
        pods = [line["ip"] for line in read_jsonl(recording.entities) if line.get("workload") == client]
        rows = np.isin(p["src"], [int(IPv4Address(ip)) for ip in pods]) & (p["dst"] == int(IPv4Address(ips[server])))
        return int((chosen(p, rows)["tcp_flags"] == SYN).sum())

    orders = opened("front-end", "orders")
    assert orders > 80
    slack = 30 / orders  # users in the middle of a purchase when the recording begins or ends
    # per purchase: login 1, order 3 to user; merge, delete, add to carts; list and item of the catalogue
    assert opened("front-end", "user") / orders == pytest.approx(4, abs=4 * slack)
    assert opened("front-end", "carts") / orders == pytest.approx(3, abs=3 * slack)
    assert opened("front-end", "catalogue") / orders == pytest.approx(2, abs=2 * slack)
    assert opened("front-end", "payment") == 0


def test_another_application_is_another_yaml(tmp_path: Path) -> None:
    """The toy calls a payment provider outside: masqueraded on the way out, found by its DNS name."""
    spec = make_spec({"load": {"users": 30}})
    spec = replace(spec, app=TypeAdapter(AppSpec).validate_python(toy_app()))
    recording = make_recording(spec, tmp_path, 120)
    p = read_packets(recording)
    provider, node = int(IPv4Address("192.0.2.200")), int(IPv4Address("192.168.49.2"))
    out = chosen(p, (p["dst"] == provider) & (p["payload_bytes"] > 0))
    assert set(out["payload_bytes"].tolist()) == {100}
    masqueraded = out["src"] == node
    assert masqueraded.sum() * 2 == len(masqueraded)
    assert masqueraded.sum() > 20
    back = chosen(p, (p["src"] == provider) & (p["payload_bytes"] > 0))
    assert back["payload_bytes"].sum() == 2 * 300 * masqueraded.sum()
    externals = {line["name"] for line in read_jsonl(recording.entities) if line["kind"] == "external"}
    assert externals == {"payments", "clients", "resolver"}
    assert any(b"\x03pay\x07example\x03com\x00" in m for m in p["message"])


def test_the_plan_is_json_and_names_everything() -> None:
    spec = make_spec(exfiltration="relay_chain")
    cluster = create_cluster(spec)
    plan = json.loads(json.dumps(cluster.plan(spec)))
    assert plan["pods"]["user-db-0"].startswith("10.244.")
    assert plan["services"]["kube-dns"] == "10.96.0.10"
    assert "user → user-db" in plan["edges"]
    assert plan["load"]["users"][18] == 100
    assert 1500 < plan["load"]["requests_per_min_at_peak"] < 2500
    assert plan["incidents"]["bytes_each"] == 1_000_000
    assert cluster.requirements() == []
    assert cluster.parallel


@pytest.mark.parametrize(
    ("changes", "where", "text"),
    [
        ({"addresses": {"pods": "10.244.0.0/29"}}, "cluster.addresses.pods", "too small"),
        ({"addresses": {"clients": "nowhere"}}, "cluster.addresses.clients", "no IPv4 network"),
        ({"addresses": {"sink": "198.51.100"}}, "cluster.addresses.sink", "no IPv4 address"),
        ({"transport": {"segment_bytes": 0}}, "cluster.transport.segment_bytes", "1 … 65000"),
        ({"transport": {"initial_window_segments": 99}}, "cluster.transport.initial_window_segments", "≤ max"),
        ({"transport": {"retransmit_probability": 2}}, "cluster.transport.retransmit_probability", "0 … 1"),
        ({"transport": {"delayed_ack_ms": -1}}, "cluster.transport", "negative"),
        ({"transport": {"copy_delay_us": [9, 3]}}, "cluster.transport.copy_delay_us", "low ≤ high"),
        ({"transport": {"client_rtt_ms": [0, 1]}}, "cluster.transport.client_rtt_ms", "median > 0"),
        ({"dns": {"replicas": 0}}, "cluster.dns.replicas", "≥ 1"),
        ({"dns": {"cache_s": -1}}, "cluster.dns", "both ≥ 0"),
        ({"dns": {"watch_every_s": 0}}, "cluster.dns", "not > 0"),
        ({"slice_s": 0.5}, "cluster.slice_s", "whole seconds"),
        ({"content_share": 1.5}, "cluster.content_share", "0 … 1"),
        ({"content_memory": 1.0}, "cluster.content_memory", "below 1"),
    ],
)
def test_impossible_clusters_are_refused(changes: dict[str, Any], where: str, text: str) -> None:
    spec = make_spec()
    assert check_cluster(spec.cluster, spec.app) == []
    broken = make_spec({"cluster": merged(option("cluster", "simulated"), changes)})
    found = [str(problem) for problem in check_cluster(broken.cluster, broken.app)]
    assert any(line.startswith(where) and text in line for line in found), found
