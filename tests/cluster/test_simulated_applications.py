"""Every shipped application as packets: its edges and no others, replication, connection habits, the same bytes twice."""

from __future__ import annotations

import shutil
import subprocess
from collections import Counter
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from omegaconf import OmegaConf

from mimir.apps import allowed_edges
from mimir.capture.batch import FIN, SYN, TCP
from mimir.cluster.base import Recording
from mimir.cluster.check import workload_problems
from mimir.cluster.simulated import SimulatedCluster
from mimir.errors import SpecError
from mimir.files import read_jsonl
from mimir.spec import Spec
from mimir.spec.build import to_plain
from tests.cluster.simulated_samples import CONF, make_recording, make_spec, option, read_packets

Packets = dict[str, NDArray[Any]]
APPS = sorted(path.stem for path in (CONF / "app").glob("*.yaml") if option("app", path.stem)["services"])
SYSTEM = {"kube-dns", "node"}


def often(node: Any) -> Any:
    """The application with everything rare made common, so that a short recording shows all of it."""
    if isinstance(node, list):
        return [often(item) for item in node]
    if isinstance(node, dict):
        return {k: 0.5 if k == "probability" and 0 < v < 0.5 else often(v) for k, v in node.items()}
    return node


def pairs(recording: Recording, p: Packets) -> Counter[tuple[str, str]]:
    """Connections between services, counted where they are opened between pods or with the outside."""
    names: dict[int, str] = {}
    for line in read_jsonl(recording.entities):
        if "/" not in line["ip"] and line["kind"] in ("pod", "external", "node"):
            names[int(IPv4Address(line["ip"]))] = "node" if line["kind"] == "node" else line["workload"] or line["name"]
    services = {int(IPv4Address(e["ip"])) for e in read_jsonl(recording.entities) if e["kind"] == "service"}
    opened = (p["proto"] == TCP) & (p["tcp_flags"] == SYN)
    found: Counter[tuple[str, str]] = Counter()
    for src, dst in zip(p["src"][opened].tolist(), p["dst"][opened].tolist(), strict=True):
        if dst not in services and names.get(dst) != "node":
            found[names.get(src, "outside"), names.get(dst, "outside")] += 1
    return found


@pytest.mark.parametrize("app", APPS)
def test_a_recording_has_the_edges_of_the_application_and_no_others(app: str, tmp_path: Path) -> None:
    plain = often(option("app", app))
    spec = make_spec({"load": {"users": 60}, "app": plain}, app=app, load="steady")
    recording = make_recording(spec, tmp_path, 120)
    found = {pair for pair in pairs(recording, read_packets(recording)) if not SYSTEM & set(pair)}
    assert found == allowed_edges(spec.app)


@pytest.mark.parametrize("app", APPS)
def test_the_same_seed_gives_the_same_bytes(app: str, tmp_path: Path) -> None:
    spec = make_spec({"load": {"users": 10}}, app=app)
    first, second = (make_recording(spec, tmp_path / name, 60) for name in ("a", "b"))
    assert first.counts["sha256"] == second.counts["sha256"]
    assert first.counts["packets"] > 500


@pytest.mark.parametrize("app", APPS)
@pytest.mark.parametrize("scenario", ["direct", "relay_chain", "dns_tunnel"])
def test_every_scenario_has_a_way_out_of_every_application(app: str, scenario: str) -> None:
    spec = make_spec(app=app, exfiltration=scenario)
    assert workload_problems(spec) == []
    assert spec.exfiltration.path == spec.app.leak_paths[scenario]
    assert spec.exfiltration.path[0] in spec.app.sensitive


def test_a_scenario_the_application_has_no_path_for_says_so() -> None:
    config = {"app": {"leak_paths": {}}, "exfiltration": option("exfiltration", "direct")}
    with pytest.raises(SpecError, match=r"exfiltration\.path.*leak_paths\.direct.*set it: exfiltration\.path="):
        to_plain(OmegaConf.create(config))


@pytest.mark.parametrize("app", APPS)
def test_tshark_finds_nothing_wrong(app: str, tmp_path: Path) -> None:
    tshark = shutil.which("tshark")
    if not tshark:
        pytest.skip("tshark is not installed")
    still = {"transport": {"retransmit_probability": 0.0}}
    recording = make_recording(make_spec({"load": {"users": 5}, "cluster": still}, app=app), tmp_path, 60)
    wrong = "_ws.malformed || tcp.analysis.lost_segment || tcp.analysis.ack_lost_segment"
    command = [tshark, "-r", str(recording.captures[0]), "-Y", wrong]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == ""


def test_the_plan_shows_every_edge() -> None:
    spec = make_spec(app="wordpress")
    edges = SimulatedCluster(spec).plan(spec)["edges"]
    assert edges[0] == "outside → wordpress"
    assert edges[-2:] == ["prometheus → pxc", "pxc → pxc"]
    assert len(edges) == len(allowed_edges(spec.app))


def test_the_exporter_of_every_member_is_scraped_at_its_own_address(tmp_path: Path) -> None:
    _, recording, p = wordpress(tmp_path, {"visitor": 1.0})
    members = {
        int(IPv4Address(e["ip"]))
        for e in read_jsonl(recording.entities)
        if e["workload"] == "pxc" and e["kind"] == "pod"
    }
    asked = (p["dport"] == 9104) & (p["payload_bytes"] > 0)
    per_member = Counter(p["dst"][asked].tolist())
    assert set(per_member) == members
    assert {count // 2 for count in per_member.values()} <= {7, 8, 9}  # every 15 s for 120 s, seen beside both pods


def wordpress(folder: Path, mix: dict[str, float]) -> tuple[Spec, Recording, Packets]:
    spec = make_spec({"load": {"users": 20, "mix": mix}}, app="wordpress", load="steady")
    recording = make_recording(spec, folder, 120)
    return spec, recording, read_packets(recording)


def test_writes_replicate_between_the_pods_of_the_database(tmp_path: Path) -> None:
    replicated = {}
    for behaviour in ("visitor", "user_post"):
        spec, recording, p = wordpress(tmp_path / behaviour, {behaviour: 1.0})
        members = [e["ip"] for e in read_jsonl(recording.entities) if e["kind"] == "pod" and e["workload"] == "pxc"]
        port = spec.app.replication[0].port
        group = (p["dport"] == port) | (p["sport"] == port)
        opened = group & (p["tcp_flags"] == SYN)
        ends = {frozenset(pair) for pair in zip(p["src"][opened].tolist(), p["dst"][opened].tolist(), strict=True)}
        numbers = [int(IPv4Address(ip)) for ip in members]
        assert ends == {frozenset((a, b)) for a in numbers for b in numbers if a != b}
        assert int(opened.sum()) == 2 * len(ends)  # one connection a pair, seen beside both pods
        replicated[behaviour] = int(p["payload_bytes"][group].sum())
        sent = {int(p["payload_bytes"][group & (p["src"] == number)].sum()) for number in numbers}
        assert min(sent) > 0.05 * replicated[behaviour]  # each member has writes to pass on
    assert replicated["user_post"] > 20 * replicated["visitor"]  # readers leave only the beats


def test_a_page_is_one_connection_to_the_database(tmp_path: Path) -> None:
    _, recording, p = wordpress(tmp_path, {"visitor": 1.0})
    pods = [int(IPv4Address(e["ip"])) for e in read_jsonl(recording.entities) if e["workload"] == "pxc"]
    to_pods = np.isin(p["dst"], pods) & (p["dport"] == 3306)
    opened, closed = to_pods & (p["tcp_flags"] == SYN), to_pods & (p["tcp_flags"] & FIN > 0)
    asked = to_pods & (p["payload_bytes"] > 0)
    assert int(opened.sum()) - int(closed.sum()) in range(-10, 11)  # none stays open, but for the ends of the recording
    assert 20 < int(asked.sum()) / int(opened.sum()) < 40


def test_grpc_clients_keep_one_connection_to_each_server(tmp_path: Path) -> None:
    spec = make_spec({"load": {"users": 40}}, app="hipsterstore", load="steady")
    recording = make_recording(spec, tmp_path, 180)
    found = pairs(recording, read_packets(recording))
    replicas = {name: service.replicas for name, service in spec.app.services.items()}
    shared = [e for e in spec.app.edges if e.connection == "shared" and e.server != "redis-cart"]
    assert len(shared) == 14
    for edge in shared:
        assert found[edge.client, edge.server] == replicas[edge.client]
