"""Ways out of an application."""

from __future__ import annotations

from mimir.exfiltration.paths import Carriage, carriages, leak_paths
from tests.exfiltration.exfiltration_samples import EDGES


def test_paths_walk_allowed_edges_both_ways_shortest_first() -> None:
    assert leak_paths(EDGES, "user-db") == [
        ("user-db", "user", "front-end", "outside"),
        ("user-db", "user", "orders", "front-end", "outside"),
    ]
    assert leak_paths(EDGES, "user-db", longest=3) == [("user-db", "user", "front-end", "outside")]
    assert len(leak_paths(EDGES, "user-db", most=1)) == 1


def test_order_of_edges_does_not_matter() -> None:
    assert leak_paths(EDGES[::-1], "user-db") == leak_paths(EDGES, "user-db")


def test_no_way_out() -> None:
    assert leak_paths(EDGES[1:], "user-db") == []
    assert leak_paths(EDGES, "nobody") == []
    assert leak_paths(EDGES, "outside") == []
    assert leak_paths([*EDGES, ("a", "b")], "a") == []
    assert leak_paths([], "user-db") == []


def test_carriages() -> None:
    path = ("user-db", "user", "front-end", "outside")
    assert carriages(path, EDGES) == [Carriage.pull] * 3
    assert carriages(path, [*EDGES, ("front-end", "outside")])[2] is Carriage.push
    assert carriages(("user-db", "outside"), EDGES) == [Carriage.new]
