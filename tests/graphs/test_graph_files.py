"""Edges → networkx graphs → GraphML."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import networkx as nx
import pytest

from mimir.files import write_jsonl
from mimir.flows import load_series
from mimir.graphs import build_graph, graph_of, write_graphs
from mimir.graphs.build import node_kind
from tests.flows.flow_samples import (
    ENTITIES,
    NODE,
    OUTSIDE,
    POD,
    START_NS,
    START_S,
    Leg,
    Result,
    conversation,
    edges_of,
    http,
    through_service,
)

ROOT = Path(__file__).resolve().parents[2]
WORKLOADS = {"web-5d9-abcde": "web", "user-7f-xyz12": "user"}


@pytest.fixture
def shop(tmp_path: Path) -> Result:
    """web → user through the service, users → user through the node port, the node's probe, a stranger."""
    return edges_of(
        tmp_path,
        conversation(through_service(), http()),
        conversation(through_service(), http(), START_NS + 70 * 10**9, (1, 2)),
        conversation([Leg(OUTSIDE, (NODE, 30_001), 2), Leg(OUTSIDE, POD, 12, 4)], http([(10, 20)]), isn=(7, 8)),
        conversation([Leg((NODE, 50_000), (POD[0], 9090), 12, 4)], http([(1, 2)]), isn=(9, 10)),
        conversation([Leg(("10.1.1.1", 50_000), POD, 2, 4)], http([(1, 2)]), isn=(11, 12)),
        entities=ENTITIES,
    )


def test_nodes_and_arrows_of_the_service_graph(shop: Result) -> None:
    series = load_series(shop.path, "test", 60, START_S, 3, WORKLOADS, {"user"})
    graph = build_graph(series)
    assert dict(graph.nodes(data="kind")) == {
        "10.1.1.1": "address", "node:n1": "node", "outside:users": "outside", "user": "service", "web": "service",
    }  # fmt: skip
    assert {n for n, sensitive in graph.nodes(data="sensitive") if sensitive} == {"user"}
    arrow = graph.edges["web", "user"]
    assert (arrow["connections"], arrow["exchanges"], arrow["ports"]) == (2, 2, "8080/tcp")
    assert arrow["bytes"] == arrow["request_bytes"] + arrow["response_bytes"] == arrow["mediated_bytes"]
    assert arrow["packets"] == 24
    assert build_graph(series, 1, 2).edges["web", "user"]["connections"] == 1
    assert list(build_graph(series, 2, 3)) == []
    with pytest.raises(IndexError, match="of a series of 3"):
        build_graph(series, 1, 4)


def test_nodes_of_the_pod_graph(shop: Result) -> None:
    series = load_series(shop.path, "test", 60, START_S, 3, WORKLOADS, {"user"}, view="pod")
    graph = build_graph(series, view="pod")
    assert graph.nodes["user-7f-xyz12"] == {"kind": "pod", "workload": "user", "sensitive": True}
    assert graph.nodes["web-5d9-abcde"]["sensitive"] is False
    assert set(graph.predecessors("user-7f-xyz12")) == {"10.1.1.1", "node:n1", "outside:users", "web-5d9-abcde"}


def test_files_can_be_read_back_and_do_not_depend_on_the_window_length(shop: Result, tmp_path: Path) -> None:
    write_jsonl(tmp_path / "entities.jsonl", ENTITIES)
    texts = set()
    for window_s in (1, 60):
        names = write_graphs(shop.path, tmp_path / "entities.jsonl", "test", window_s, {"user"}, tmp_path / "graphs")
        assert names == ["graphs/pod.graphml", "graphs/service.graphml"]
        texts.add("".join((tmp_path / name).read_text(encoding="utf-8") for name in names))
    assert len(texts) == 1
    graph = nx.read_graphml(tmp_path / "graphs" / "service.graphml")
    assert isinstance(graph, nx.DiGraph)
    assert graph.edges["web", "user"]["connections"] == 2
    assert graph.nodes["user"]["sensitive"] is True
    assert graph.graph["view"] == "service"


def test_files_do_not_depend_on_hash_seeds(shop: Result, tmp_path: Path) -> None:
    write_jsonl(tmp_path / "entities.jsonl", ENTITIES)
    code = (
        "import sys; from pathlib import Path; from mimir.graphs import write_graphs; p = Path(sys.argv[1]);"
        "write_graphs(p / 'edges.parquet', p / 'entities.jsonl', 'test', 60, ['user'], p / sys.argv[2])"
    )
    for seed in ("1", "2"):
        subprocess.run(
            [sys.executable, "-c", code, str(tmp_path), seed],
            check=True,
            cwd=ROOT,
            env={**os.environ, "PYTHONHASHSEED": seed},
        )
    for name in ("pod.graphml", "service.graphml"):
        assert (tmp_path / "1" / name).read_bytes() == (tmp_path / "2" / name).read_bytes()


def test_parallel_edges_become_one_arrow_with_all_ports(shop: Result) -> None:
    rows = shop.table[(shop.table["view"] == "service") & (shop.table["window_s"] == 60)]
    both = rows.assign(server_port=rows["server_port"].where(rows["client"] != "web", 443))
    graph = graph_of(both, "service")
    assert graph.number_of_edges() == 4
    assert graph.edges["web", "user"]["ports"] == "443/tcp"
    merged = graph_of(rows.assign(client="x"), "service")
    assert merged.edges["x", "user"]["ports"] == "8080/tcp 9090/tcp"


@pytest.mark.parametrize(
    ("name", "view", "kind"),
    [("service:db", "pod", "service"), ("10.0.0.1", "pod", "address"), ("fd00::1", "pod", "address"), ("db", "service", "service"),
     ("single", "pod", "pod"), ("single", "service", "service")],
)  # fmt: skip
def test_kinds(name: str, view: str, kind: str) -> None:
    assert node_kind(name, view, {"single": "single"}) == kind
