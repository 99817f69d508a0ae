from __future__ import annotations

import re
from itertools import pairwise

import networkx as nx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mimir.report.graph import Drawing, draw_graph
from mimir.report.graph_content import MAX_NODES, graph_content, resolve_paths
from mimir.report.layout import layered

names = st.sampled_from([f"s{i}" for i in range(12)])
graphs = st.lists(st.tuples(names, names), max_size=40)


def test_who_asks_stands_before_who_answers() -> None:
    plan = layered("abcd", [("a", "b"), ("b", "c"), ("a", "c"), ("d", "c")])
    assert plan.layer == {"a": 0, "b": 1, "c": 2, "d": 1}
    assert plan.bends["a", "c"][0][0] == 1  # the long edge bends in the layer it crosses


def test_last_layer_can_be_asked_for() -> None:
    assert layered("abc", [("a", "b"), ("b", "c")], last=["b"]).layer == {"a": 0, "b": 2, "c": 2}


@given(graphs)
@settings(max_examples=60, deadline=None)
def test_every_graph_has_a_layout_without_overlaps(edges: list[tuple[str, str]]) -> None:
    nodes = {name for edge in edges for name in edge}
    plan = layered(nodes, edges)
    assert set(plan.layer) == set(plan.place) == nodes
    for layer in set(plan.layer.values()):
        places = sorted(plan.place[name] for name in nodes if plan.layer[name] == layer)
        assert all(b - a > 0.99 for a, b in pairwise(places))


@given(graphs)
@settings(max_examples=30, deadline=None)
def test_order_of_edges_does_not_matter(edges: list[tuple[str, str]]) -> None:
    assert layered({n for e in edges for n in e}, edges) == layered({n for e in edges for n in e}, reversed(edges))


def _graph(*edges: tuple[str, str]) -> nx.DiGraph:
    graph = nx.DiGraph()
    for client, server in edges:
        graph.add_edge(client, server, request_bytes=1_000, response_bytes=20_000)
    return graph


def _draw(graph: nx.DiGraph, paths: list[list[str]], sensitive: list[str]) -> Drawing:
    return draw_graph(graph_content(graph, paths, sensitive))


def test_leak_is_drawn_along_responses_and_requests() -> None:
    graph = _graph(("web", "user"), ("user", "user-db"), ("web", "outside:drop"))
    drawing = _draw(graph, [["user-db", "user", "web", "outside:drop"]], ["user-db"])
    assert drawing.svg.count('marker-start="url(#arrowleak)"') == 2  # data rides in the responses
    assert drawing.svg.count('marker-end="url(#arrowleak)"') == 1
    assert "user-db (sensitive)" in drawing.svg
    assert "stroke-dasharray: 5 4" not in drawing.svg


def test_hop_that_was_never_seen_is_dashed() -> None:
    drawing = _draw(_graph(("web", "user")), [["user", "outside:drop"]], [])
    assert "user → outside:drop: never seen" in drawing.svg
    assert "stroke-dasharray: 5 4" in drawing.svg


def test_no_leak_no_red() -> None:
    assert _draw(_graph(("web", "user")), [], []).svg.count("arrowleak") == 1  # the definition only


@pytest.mark.parametrize("edges", [[], [("a", "a")], [("a", "b"), ("b", "a")]])
def test_odd_graphs_can_be_drawn(edges: list[tuple[str, str]]) -> None:
    assert _draw(_graph(*edges), [], []).svg.endswith("</svg>\n")


def test_quiet_nodes_of_a_large_graph_are_left_out_but_never_the_leak() -> None:
    graph = _graph(*((f"s{i}", f"s{i + 1}") for i in range(80)))
    graph.add_edge("quiet", "quieter", request_bytes=1, response_bytes=0)
    drawing = _draw(graph, [["quieter", "quiet"]], [])
    assert (len(drawing.content.kinds), drawing.content.hidden) == (MAX_NODES, 83 - MAX_NODES)
    assert "quieter" in drawing.svg


def test_names_are_escaped() -> None:
    assert "<b>" not in _draw(_graph(("<b>x", "y")), [["y", "<b>x"]], []).svg


def test_everything_drawn_lies_within_the_picture() -> None:
    graph = _graph(("a", "b"), ("b", "c"), ("c", "d"), ("a", "d"), ("a", "c"), ("b", "d"), ("a", "e"), ("e", "d"))
    svg = _draw(graph, [], []).svg
    width, height = (float(n) for n in re.search(r'viewBox="0 0 (\d+) (\d+)"', svg).groups())  # type: ignore[union-attr]
    points = [
        tuple(map(float, pair))
        for d in re.findall(r' d="(M[^"zA]*)"', svg)
        for pair in re.findall(r"([\d.]+),([\d.]+)", d)
    ]
    assert len(points) > 20
    assert all(0 <= x <= width and 0 <= y <= height for x, y in points)


def test_probes_and_lookups_are_told_not_drawn_unless_the_leak_used_them() -> None:
    graph = _graph(("node:n", "a"), ("node:n", "b"), ("a", "b"), ("a", "kube-dns"), ("kube-dns", "outside:resolver"))
    quiet = graph_content(graph, [], [])
    assert set(quiet.edges) == {("a", "b"), ("kube-dns", "outside:resolver")}
    assert quiet.left_out == ("2 probes of nodes", "1 DNS lookup edge")
    tunnel = graph_content(graph, [["a", "kube-dns", "outside:resolver"]], [])
    assert set(tunnel.leak) == {("a", "kube-dns"), ("kube-dns", "outside:resolver")}
    assert ("a", "kube-dns") in tunnel.edges


def test_bare_outside_is_whom_the_last_service_talks_to() -> None:
    graph = _graph(("outside:clients", "web"), ("web", "db"))
    assert resolve_paths(graph, [["db", "web", "outside"]]) == [["db", "web", "outside:clients"]]
    graph.add_edge("web", "outside:198.51.100.7", request_bytes=1, response_bytes=0)
    assert resolve_paths(graph, [["db", "web", "outside"]]) == [["db", "web", "outside:198.51.100.7"]], "unknown first"
    assert resolve_paths(graph, [["db", "outside"]]) == [["db", "outside"]], "nobody to be seen"
    assert resolve_paths(None, [["db", "outside:x"]]) == [["db", "outside:x"]]


def test_node_that_talks_to_itself_gets_an_arc() -> None:
    graph = _graph(("web", "db"), ("db", "db"))
    drawing = _draw(graph, [], ["db"])
    assert drawing.content.loops == {"db": 21_000}
    assert "<title>db → db, between its pods: 21 kB</title>" in drawing.svg
    assert "between its pods" not in _draw(_graph(("web", "db")), [], ["db"]).svg
