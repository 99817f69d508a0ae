"""Paths from a store to outside: requests and replies both carry data."""

from __future__ import annotations

from itertools import pairwise

import networkx as nx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mimir.graphs import leak_paths


def graph_from(arrows: list[tuple[str, str]], stores: set[str]) -> nx.DiGraph:
    graph = nx.DiGraph(arrows)
    for name, values in graph.nodes(data=True):
        values.update(kind="outside" if name.startswith("outside:") else "service", sensitive=name in stores)
    return graph


SHOP = [
    ("outside:users", "front-end"), ("front-end", "user"), ("user", "user-db"), ("front-end", "orders"), ("orders", "user"),
    ("orders", "outside:payment"), ("user", "user"),
]  # fmt: skip


def test_paths_come_shortest_first_against_and_with_the_arrows() -> None:
    assert list(leak_paths(graph_from(SHOP, {"user-db"}))) == [
        ["user-db", "user", "front-end", "outside:users"],
        ["user-db", "user", "orders", "outside:payment"],
        ["user-db", "user", "front-end", "orders", "outside:payment"],
        ["user-db", "user", "orders", "front-end", "outside:users"],
    ]


def test_limits() -> None:
    graph = graph_from(SHOP, {"user-db"})
    assert len(list(leak_paths(graph, max_hops=3))) == 2
    assert len(list(leak_paths(graph, limit=3))) == 3
    assert list(leak_paths(graph, max_hops=2)) == []
    assert list(leak_paths(graph_from(SHOP, set()))) == []


def test_a_store_that_talks_to_outside_itself() -> None:
    assert list(leak_paths(graph_from([("db", "outside:sink"), ("web", "db")], {"db"}))) == [["db", "outside:sink"]]


@settings(max_examples=60, deadline=None)
@given(st.sets(st.tuples(st.integers(0, 6), st.integers(0, 6)), max_size=20), st.integers(1, 6))
def test_all_simple_paths_and_no_others(pairs: set[tuple[int, int]], max_hops: int) -> None:
    names = ["a", "b", "c", "d", "e", "outside:x", "outside:y"]
    graph = graph_from([(names[i], names[j]) for i, j in sorted(pairs)], {"a", "c"})
    both = graph.to_undirected()
    wanted = {
        tuple(path)
        for store in {"a", "c"} & set(graph)
        for target in {"outside:x", "outside:y"} & set(graph)
        for path in nx.all_simple_paths(both, store, target, cutoff=max_hops)
        if not any(name.startswith("outside:") for name in path[:-1])
    }
    found = list(leak_paths(graph, max_hops))
    assert {tuple(p) for p in found} == wanted
    assert len(found) == len(wanted)
    assert all(len(a) <= len(b) for a, b in pairwise(found))


def test_a_dense_graph_stays_quick() -> None:
    arrows = [(f"s{i}", f"s{j}") for i in range(40) for j in range(40) if i != j] + [("s39", "outside:x")]
    paths = leak_paths(graph_from(arrows, {"s0"}), max_hops=8, limit=50)
    assert len(list(paths)) == 50


@pytest.mark.parametrize("limit", [0, 1])
def test_no_more_than_asked(limit: int) -> None:
    assert len(list(leak_paths(graph_from(SHOP, {"user-db"}), limit=limit))) == limit
