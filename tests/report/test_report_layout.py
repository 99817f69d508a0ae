from __future__ import annotations

from itertools import pairwise

import networkx as nx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mimir.report.graph import MAX_NODES, draw_graph
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


def test_leak_is_drawn_along_responses_and_requests() -> None:
    graph = _graph(("web", "user"), ("user", "user-db"), ("web", "outside:drop"))
    drawing = draw_graph(graph, [["user-db", "user", "web", "outside:drop"]], ["user-db"])
    assert drawing.svg.count('marker-start="url(#arrowleak)"') == 2  # data rides in the responses
    assert drawing.svg.count('marker-end="url(#arrowleak)"') == 1
    assert "user-db (sensitive)" in drawing.svg
    assert "stroke-dasharray: 5 4" not in drawing.svg


def test_hop_that_was_never_seen_is_dashed() -> None:
    drawing = draw_graph(_graph(("web", "user")), [["user", "outside:drop"]], [])
    assert "user → outside:drop: never seen" in drawing.svg
    assert "stroke-dasharray: 5 4" in drawing.svg


def test_no_leak_no_red() -> None:
    assert draw_graph(_graph(("web", "user")), [], []).svg.count("arrowleak") == 1  # the definition only


@pytest.mark.parametrize("edges", [[], [("a", "a")], [("a", "b"), ("b", "a")]])
def test_odd_graphs_can_be_drawn(edges: list[tuple[str, str]]) -> None:
    assert draw_graph(_graph(*edges), [], []).svg.endswith("</svg>\n")


def test_quiet_nodes_of_a_large_graph_are_left_out_but_never_the_leak() -> None:
    graph = _graph(*((f"s{i}", f"s{i + 1}") for i in range(80)))
    graph.add_edge("quiet", "quieter", request_bytes=1, response_bytes=0)
    drawing = draw_graph(graph, [["quieter", "quiet"]], [])
    assert (drawing.nodes, drawing.hidden) == (MAX_NODES, 83 - MAX_NODES)
    assert "quieter" in drawing.svg


def test_names_are_escaped() -> None:
    assert "<b>" not in draw_graph(_graph(("<b>x", "y")), [["y", "<b>x"]], []).svg
