"""Hubble flows: connections, requests and names, without bytes."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from mimir.errors import MimirError
from mimir.flows.foreign import flow_format
from tests.flows.foreign_samples import addresses, edges, totals

CORPUS = Path(os.environ.get("MIMIR_CORPUS", Path(__file__).resolve().parents[2].parent / "shared" / "data"))
needs_corpus = pytest.mark.skipif(not CORPUS.exists(), reason="the corpus is absent (set MIMIR_CORPUS)")
WEB, DB = ("10.0.1.1", 40_000), ("10.0.2.2", 3306)
PODS = {WEB: ("web-5d59d67564-xk2vp", "shop"), DB: ("db-0", "shop")}


def event(second: float, source: Any, target: Any, flags: str = "", reply: bool = False, **more: Any) -> dict[str, Any]:
    ends = {
        side: {"namespace": PODS[end][1], "pod_name": PODS[end][0], "labels": [f"k8s:app={PODS[end][0][:2]}"]}
        if end in PODS
        else {"labels": ["reserved:world"]}
        for side, end in (("source", source), ("destination", target))
    }
    flow = {
        "time": f"2024-01-01T00:00:{second:06.3f}Z", "verdict": "FORWARDED", "is_reply": reply,
        "IP": {"source": source[0], "destination": target[0]}, **ends,
        "l4": {"TCP": {"source_port": source[1], "destination_port": target[1], "flags": dict.fromkeys(flags.split(), True)}},
    }  # fmt: skip
    return {"flow": flow | more, "node_name": "n1", "time": flow["time"]}


def write(path: Path, *records: Any) -> Path:
    path.write_text("".join(json.dumps(r) + "\n" if not isinstance(r, str) else r + "\n" for r in records))
    return path


def test_connections_and_turns_are_counted(tmp_path: Path) -> None:
    events = [
        event(1, WEB, DB, "SYN"), event(1.001, WEB, DB, "SYN"),  # the same SYN at two points
        event(1.002, DB, WEB, "SYN ACK", True),
        event(1.1, WEB, DB, "PSH ACK"), event(1.2, WEB, DB, "PSH ACK"), event(1.3, DB, WEB, "PSH ACK", True),
        event(1.4, WEB, DB, "PSH ACK"), event(5, WEB, DB, "FIN ACK"), event(8, WEB, DB, "SYN"),
    ]  # fmt: skip
    table, report = edges(tmp_path, write(tmp_path / "a", *events))
    assert table[["client", "server", "server_port"]].to_numpy().tolist() == [[PODS[WEB][0], "db-0", 3306]]
    assert totals(table) == {"connections": 2, "exchanges": 2}
    assert "every byte count is 0" in report.to_json()["sizes"]


def test_pods_become_entities_with_their_workloads(tmp_path: Path) -> None:
    path = write(tmp_path / "a", event(1, WEB, DB), event(2, WEB, ("198.51.100.7", 443), destination_names=["x"]))
    table, report = edges(tmp_path, path, view="service")
    assert sorted(zip(table["client"], table["server"], strict=True)) == [
        ("web", "db"),
        ("web", "outside:198.51.100.7"),
    ]
    assert [(e["name"], e["workload"], e["namespace"], e["labels"]) for e in report.entities] == [
        ("db-0", "db", "shop", {"app": "db"}),
        (PODS[WEB][0], "web", "shop", {"app": "we"}),
    ]


def test_entities_of_the_user_come_first(tmp_path: Path) -> None:
    names = addresses(tmp_path / "a.csv", ("10.0.2.2", "other-0", "pod", "other"))
    table, report = edges(tmp_path, write(tmp_path / "a", event(1, WEB, DB)), entities=names)
    assert table[["client", "server"]].to_numpy().tolist() == [["10.0.1.1", "other-0"]]
    assert report.entities == []


def test_both_address_families_of_a_pod_stay_its_own(tmp_path: Path) -> None:
    six = ("fd00::1", 40_000)
    PODS[six] = PODS[WEB]
    try:
        path = write(tmp_path / "a", event(1, WEB, DB), event(2, six, DB), event(59, WEB, DB))
    finally:
        del PODS[six]
    table, _ = edges(tmp_path, path)
    assert set(table["client"]) == {PODS[WEB][0]}


def test_requests_seen_by_the_proxy_count_instead_of_segments(tmp_path: Path) -> None:
    dns = {"type": "REQUEST", "dns": {"query": "db.shop.svc.cluster.local."}}
    answer = {"type": "RESPONSE", "dns": {"query": "db.shop.svc.cluster.local."}}
    events = [event(1, WEB, DB, l7=dns), event(1.1, WEB, DB, "PSH ACK"), event(1.2, DB, WEB, reply=True, l7=answer)]
    table, _ = edges(tmp_path, write(tmp_path / "a", *events))
    assert totals(table) == {"connections": 1, "exchanges": 1, "dns_queries": 1, "dns_name_bytes": 25}


def test_what_is_no_delivered_flow_is_counted_and_left_out(tmp_path: Path) -> None:
    records = [
        event(1, WEB, DB), event(2, WEB, DB, verdict="DROPPED"), {"node_status": {"state_change": "NODE_CONNECTED"}},
        {"lost_events": {"num_events_lost": "3"}}, '{"flow": {"IP": 3}}', "[1]", "no json", event(3, WEB, DB, l4={"Odd": {}}),
    ]  # fmt: skip
    table, report = edges(tmp_path, write(tmp_path / "a", *records))
    assert totals(table)["connections"] == 1
    counts = report.to_json()["skipped_lines"]
    assert counts == {"verdict DROPPED": 1, "not a flow between addresses": 4, "unusable record": 2}


def test_only_lost_events_are_an_error(tmp_path: Path) -> None:
    path = write(tmp_path / "a", {"lost_events": {"num_events_lost": "3"}})
    assert flow_format(path) == "hubble"
    with pytest.raises(MimirError, match="line 1: not a flow between addresses"):
        edges(tmp_path, path)


@needs_corpus
@pytest.mark.corpus
def test_real_flows_of_bookinfo(tmp_path: Path) -> None:
    table, report = edges(tmp_path, CORPUS / "kubernetes" / "basic-sample-10-flows.json", windows_s=(60,))
    assert report.to_json()["skipped_lines"] == {}
    asked = {(row.client, row.server, row.server_port) for row in table.itertuples()}
    assert ("prometheus-6655946b9f-hx9ln", "reviews-v1-545db77b95-s6jb8", 15_090) in asked
    assert ("event-exporter-gke-67986489c8-svnrf", "outside:35.246.31.234", 443) in asked
    assert all(not client.startswith("outside") for client, *_ in asked)


@needs_corpus
@pytest.mark.corpus
def test_real_dns_flows_count_every_query_once(tmp_path: Path) -> None:
    path = CORPUS / "kubernetes" / "basic-sample-330-dns-flows.json"
    flows = [json.loads(line)["flow"] for line in path.read_text().splitlines()]
    names = [f["l7"]["dns"]["query"].rstrip(".") for f in flows if f["l7"]["type"] == "REQUEST"]
    table, _ = edges(tmp_path, path, view="service", windows_s=(60,))
    assert set(zip(table["client"], table["server"], table["server_port"], strict=True)) == {
        ("node-local-dns", "kube-dns", 53)
    }
    assert table["dns_queries"].sum() == table["exchanges"].sum() == len(names) == 165
    assert table["dns_name_bytes"].sum() == sum(map(len, names))


def test_names_that_are_no_text_are_bad_lines(tmp_path: Path) -> None:
    broken = json.dumps(event(1, WEB, DB)).replace("web-5d59", "\\ud800")
    table, report = edges(tmp_path, write(tmp_path / "a", event(1, WEB, DB), broken))
    assert totals(table)["connections"] == 1
    assert report.to_json()["skipped_lines"] == {"unusable record": 1}


def test_a_flow_without_addresses_is_told_apart_from_other_damage(tmp_path: Path) -> None:
    small = event(3, WEB, DB)
    small["flow"]["ip"] = small["flow"].pop("IP")
    _, report = edges(
        tmp_path, write(tmp_path / "a", event(1, WEB, DB), event(2, WEB, DB, IP=None), small, event(4, WEB, DB, IP={"source": "10.0.0.1"}))
    )  # fmt: skip
    assert [line["reason"].partition(": ")[2] for line in report.to_json()["bad_lines"]] == [
        "its IP has no source and destination",
        "it has no IP, only ip in lower case",
        "its IP has no source and destination",
    ]
