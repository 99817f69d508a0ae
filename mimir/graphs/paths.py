"""Ways that data could leave: simple paths from a sensitive store to outside on the observed graph."""

from __future__ import annotations

from collections.abc import Iterator
from heapq import heappop, heappush

import networkx as nx


def leak_paths(graph: nx.DiGraph, max_hops: int = 5, limit: int = 1000) -> Iterator[list[str]]:
    """Simple paths from each sensitive node to an outside node, shortest first, then alphabetic; at most `limit`.

    Data may flow with a connection (a request) or against it (a reply), so arrows are walked both ways. A path ends at
    its first outside node and passes no second store of the same start. Only nodes from which the outside can be
    reached in the hops that are left are entered, so the search does not wander.
    """
    both = graph.to_undirected(as_view=True)
    outside = {name for name, kind in graph.nodes(data="kind") if kind == "outside"}
    distance = _distances(both, outside)
    queue: list[tuple[int, list[str]]] = []
    for name, sensitive in graph.nodes(data="sensitive"):
        if sensitive and distance.get(name, max_hops + 1) <= max_hops:
            heappush(queue, (distance[name], [name]))
    found = 0
    while queue and found < limit:
        _, path = heappop(queue)
        if path[-1] in outside:
            found += 1
            yield path
            continue
        for neighbour in both[path[-1]]:
            reach = len(path) + distance.get(neighbour, max_hops + 1)
            if neighbour not in path and reach <= max_hops:
                heappush(queue, (reach, [*path, neighbour]))


def _distances(graph: nx.Graph, targets: set[str]) -> dict[str, int]:
    """Hops to the nearest target, never passing through another target."""
    distance = dict.fromkeys(targets, 0)
    wave = sorted(targets)
    while wave:
        coming = []
        for name in wave:
            for neighbour in graph[name]:
                if neighbour not in distance:
                    distance[neighbour] = distance[name] + 1
                    coming.append(neighbour)
        wave = coming
    return distance
