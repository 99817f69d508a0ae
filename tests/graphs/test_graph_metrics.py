"""Metrics on sparse matrices equal those of networkx, node by node."""

from __future__ import annotations

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mimir.graphs import graph_metrics
from mimir.graphs.metrics import adjacency, clustering

ARROWS = st.sets(st.tuples(st.integers(0, 8), st.integers(0, 8)), min_size=1, max_size=40)


@settings(max_examples=60, deadline=None)
@given(ARROWS)
def test_against_networkx(arrows: set[tuple[int, int]]) -> None:
    graph = nx.DiGraph((str(a), str(b), {"bytes": 10 * a + b + 1}) for a, b in sorted(arrows))
    plain = nx.DiGraph(graph)
    plain.remove_edges_from(list(nx.selfloop_edges(plain)))
    found = graph_metrics(graph)
    assert found.nodes == len(plain)
    assert found.arrows == plain.number_of_edges()
    assert found.components == nx.number_weakly_connected_components(plain)
    if plain.number_of_edges():
        assert found.density == pytest.approx(nx.density(plain))
        assert found.reciprocity == pytest.approx(nx.overall_reciprocity(plain))
        assert found.clustering == pytest.approx(nx.average_clustering(plain))
        names, links = adjacency(graph)
        wanted = nx.clustering(plain)
        assert np.allclose(clustering(links), [wanted[name] for name in names])
    else:
        assert found.reciprocity is None


def test_weights() -> None:
    graph = nx.DiGraph()
    graph.add_node("outside:x", kind="outside")
    for a, b, size in (("a", "b", 100), ("b", "a", 60), ("a", "outside:x", 40), ("a", "a", 1000)):
        graph.add_edge(a, b, bytes=size, packets=1)
    found = graph_metrics(graph)
    assert found.weighted_reciprocity == pytest.approx(2 * 60 / 200)
    assert found.outside_share == pytest.approx(40 / 200)
    assert graph_metrics(graph, "packets").outside_share == pytest.approx(1 / 3)


def test_what_is_not_defined_is_none() -> None:
    found = graph_metrics(nx.DiGraph())
    assert (found.nodes, found.arrows, found.components) == (0, 0, 0)
    assert (
        found.density
        is found.reciprocity
        is found.clustering
        is found.weighted_reciprocity
        is found.outside_share
        is None
    )
    assert found.to_json()["density"] is None
