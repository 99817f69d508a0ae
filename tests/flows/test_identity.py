"""Address → name at a time, from entity logs and from tables of addresses."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from mimir.files import write_jsonl
from mimir.flows import entity_events, load_identity, read_workloads
from mimir.flows.connections import ConnectionTracker
from mimir.flows.identity import Identity, Name, from_events
from tests.flows.flow_samples import (
    ENTITIES,
    START_S,
    Step,
    conversation,
    directly,
    edges_of,
    http,
    pod,
    service,
)

CORPUS = Path(os.environ.get("MIMIR_CORPUS", Path(__file__).resolve().parents[2].parent / "shared" / "data"))


@pytest.mark.parametrize(
    ("address", "pod_name", "service_name"),
    [
        ("10.244.2.7", "user-7f-xyz12", "user"),
        ("10.96.0.10", "service:user", "user"),
        ("192.168.49.2", "node:n1", "node:n1"),
        ("203.0.113.77", "outside:users", "outside:users"),
        ("198.51.100.1", "outside:198.51.100.1", "outside:198.51.100.1"),
        ("2001:db8::5", "outside:2001:db8::5", "outside:2001:db8::5"),
        ("10.9.9.9", "10.9.9.9", "10.9.9.9"),
        ("172.31.0.1", "172.31.0.1", "172.31.0.1"),
        ("172.32.0.1", "outside:172.32.0.1", "outside:172.32.0.1"),
        ("169.254.1.1", "169.254.1.1", "169.254.1.1"),
        ("fd00::1", "fd00::1", "fd00::1"),
        ("fe80::1", "fe80::1", "fe80::1"),
        ("::1", "::1", "::1"),
        ("127.0.0.1", "127.0.0.1", "127.0.0.1"),
    ],
)
def test_the_naming_table(address: str, pod_name: str, service_name: str) -> None:
    assert from_events(ENTITIES).name(address, START_S) == Name(pod_name, service_name)


def test_an_address_that_changes_hands() -> None:
    log = [
        pod("old", "10.244.0.9", "a", ts=1000),
        pod("old", "10.244.0.9", "a", ts=2000, event="deleted"),
        pod("new", "10.244.0.9", "b", ts=2030),
        pod("new", "10.244.0.77", "b", ts=5000, event="modified"),
    ]
    identity = from_events(log)
    at = {t: identity.name("10.244.0.9", t).pod for t in (0, 950, 1000, 1999, 2010, 2030, 4999, 5030, 5061)}
    assert at == {
        0: "10.244.0.9", 950: "old", 1000: "old", 1999: "old", 2010: "old", 2030: "new", 4999: "new", 5030: "new", 5061: "10.244.0.9",
    }  # fmt: skip
    assert identity.name("10.244.0.77", 5000).service == "b"
    assert identity.workloads == {"old": "a", "new": "b"}


def test_reuse_shows_in_the_edges(tmp_path: Path) -> None:
    log = [
        pod("first", "10.244.1.5", "a"),
        pod("first", "10.244.1.5", "a", ts=START_S + 30, event="deleted"),
        pod("second", "10.244.1.5", "b", ts=START_S + 31),
    ]
    later = conversation(directly(), http(), (START_S + 40) * 10**9, (9, 9))
    result = edges_of(tmp_path, conversation(directly(), http()), later, entities=log)
    assert [key[0] for key in result.edges()] == ["first", "second"]


def test_a_connection_keeps_the_name_it_began_with(tmp_path: Path) -> None:
    log = [
        pod("first", "10.244.1.5", "a"),
        pod("first", "10.244.1.5", "a", ts=START_S + 30, event="deleted"),
        pod("second", "10.244.1.5", "b", ts=START_S + 31),
    ]
    steps = [*http(close=False), Step(True, 100, gap_ns=50 * 10**9)]
    result = edges_of(tmp_path, conversation(directly(), steps), entities=log)
    assert {key[0] for key in result.edges()} == {"first"}


def test_a_pod_on_the_host_network_is_the_node() -> None:
    log = [*ENTITIES, pod("kube-proxy-1", "192.168.49.2", "kube-proxy")]
    assert from_events(log).name("192.168.49.2", START_S).pod == "node:n1"


def test_the_longest_prefix_and_exact_externals_win() -> None:
    external = {"kind": "external", "event": "added", "ts": None}
    log = [
        {**external, "name": n, "ip": ip}
        for n, ip in (("wide", "203.0.0.0/8"), ("narrow", "203.0.113.0/24"), ("one", "203.0.113.5"))
    ]
    identity = from_events([*log, {**external, "name": "six", "ip": "2001:db8::/32"}])
    names = [identity.name(ip, 0).pod for ip in ("203.9.9.9", "203.0.113.6", "203.0.113.5", "2001:db8::1")]
    assert names == ["outside:wide", "outside:narrow", "outside:one", "outside:six"]


def test_known_endpoints_of_services_nodes_and_backends() -> None:
    known = {(a[1] & 0xFFFFFFFF, port): roles for (a, port), roles in from_events(ENTITIES).endpoints.items()}
    pod_ip, cluster_ip, node_ip = 0x0AF40207, 0x0A60000A, 0xC0A83102
    assert known == {
        (cluster_ip, 0): {"service"},
        (node_ip, 0): {"node"},
        (cluster_ip, 80): {"listener"},
        (node_ip, 30_001): {"listener", "node_port"},
        (pod_ip, 8080): {"listener"},
    }


def test_a_large_cluster_fits() -> None:
    known = {((0, 0xFFFF << 32 | i), 0): {"service"} for i in range(140_000)}
    tracker = ConnectionTracker(Identity(endpoints=known), 1, 300)
    assert len(tracker.finish().cells) == 0


def test_dual_stack_headless_and_pending_entities() -> None:
    log = [
        pod("p", "10.244.0.1,fd00::7", "w"),
        pod("pending", "", "w"),
        service("headless", "None", {"80": 80}),
        {"kind": "lease", "name": "x"},
    ]
    identity = from_events(log)
    assert identity.name("fd00::7", START_S).pod == identity.name("10.244.0.1", START_S).pod == "p"


def test_bad_entries_are_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="entry 2: ValueError"):
        from_events([ENTITIES[0], pod("x", "10.0.0.300", "x")])
    path = tmp_path / "e.jsonl"
    path.write_text('{"kind": "pod"\n', encoding="utf-8")
    with pytest.raises(ValueError, match="line 1: not JSON"):
        load_identity(path)


TABLES = {
    "csv": "address,name,kind,workload\n10.0.0.5,web-1,pod,web\n203.0.113.0/24,users,external,\n10.96.0.1,api,service,\n10.0.0.2,n1,node,\n",
    "tsv": "ip\tname\n10.0.0.5\tweb-6b9c5d4f7-abcde\n198.51.100.4\tsink\n",
    "spaces": "ip            name     kind\n10.0.0.5      web-0    pod\n",
}


@pytest.mark.parametrize(
    ("table", "names"),
    [
        ("csv", {"10.0.0.5": ("web-1", "web"), "203.0.113.4": ("outside:users",) * 2, "10.96.0.1": ("service:api", "api"), "10.0.0.2": ("node:n1",) * 2}),
        ("tsv", {"10.0.0.5": ("web-6b9c5d4f7-abcde", "web"), "198.51.100.4": ("outside:sink",) * 2}),
        ("spaces", {"10.0.0.5": ("web-0", "web")}),
    ],
)  # fmt: skip
def test_tables_of_addresses(tmp_path: Path, table: str, names: dict[str, tuple[str, str]]) -> None:
    path = tmp_path / f"addresses.{table}"
    path.write_text(TABLES[table], encoding="utf-8")
    identity = load_identity(path)
    assert {a: (identity.name(a, 0).pod, identity.name(a, 0).service) for a in names} == names


def test_tables_become_entity_logs(tmp_path: Path) -> None:
    path = tmp_path / "addresses.csv"
    path.write_text(TABLES["csv"], encoding="utf-8")
    events = entity_events(path)
    write_jsonl(tmp_path / "entities.jsonl", events)
    assert entity_events(tmp_path / "entities.jsonl") == events
    assert read_workloads(path) == read_workloads(tmp_path / "entities.jsonl") == {"web-1": "web"}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "is empty"),
        ("host,port\na,b\n", "needs an address and a name column"),
        ("ip,name\n10.0.0.1\n", "line 2: 1 columns"),
    ],
)
def test_unusable_tables_are_named(tmp_path: Path, text: str, reason: str) -> None:
    path = tmp_path / "t.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=reason):
        load_identity(path)


@pytest.mark.corpus
@pytest.mark.skipif(not CORPUS.exists(), reason="the corpus is absent (set MIMIR_CORPUS)")
def test_listings_of_a_real_cluster() -> None:
    pods = entity_events(CORPUS / "prototype" / "wordpress_thirteen_t1_pod_config_0.txt")
    by_name = {e["name"]: e for e in pods}
    assert by_name["my-release-pxc-3"]["ip"] == "172.17.0.8"
    assert by_name["my-release-pxc-3"]["workload"] == "my-release-pxc"
    assert len(pods) > 20
    services: dict[str, Any] = {
        e["name"]: e for e in entity_events(CORPUS / "prototype" / "wordpress_thirteen_t1_svc_config_0.txt")
    }
    assert services["my-release-pxc"] | {"node": None} == {
        "event": "added", "kind": "service", "name": "my-release-pxc", "namespace": "default", "node": None,
        "ip": "10.98.63.191", "ports": {"3306": 3306}, "node_ports": {},
    }  # fmt: skip
