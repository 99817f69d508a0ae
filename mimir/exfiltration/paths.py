"""Ways data can take from a store to the outside along connections that are allowed.

Data flows with a connection (the client pushes) or against it (the client pulls): allowed edges are walked both ways.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import StrEnum
from itertools import islice, pairwise, takewhile

from mimir.spec.exfiltration import ExfiltrationSpec

Path = tuple[str, ...]

OUTSIDE = "outside"
RESOLVERS = ("kube-dns", "coredns")  #: every pod may ask them, and they ask outside
MOST_PATHS = 1000  #: simple paths looked at, shortest first
MOST_HOPS = 5  #: of the further branches of a fan


class Carriage(StrEnum):
    """How data crosses one hop."""

    push = "push"  # the side that has the data is the client of an allowed edge
    pull = "pull"  # the side that wants it is
    new = "new"  # no edge is allowed either way: the side that has the data connects


def carriages(path: tuple[str, ...], allowed_edges: Iterable[tuple[str, str]]) -> list[Carriage]:
    """How each hop of `path` crosses, given allowed (client, server) pairs; push wins where both are allowed."""
    allowed = set(allowed_edges)
    return [
        Carriage.push if hop in allowed else Carriage.pull if hop[::-1] in allowed else Carriage.new
        for hop in pairwise(path)
    ]


def leak_paths(
    allowed_edges: Iterable[tuple[str, str]], store: str, longest: int = 5, most: int = 20
) -> list[tuple[str, ...]]:
    """Simple paths store → outside of at most `longest` hops, shortest first (Yen 1971), at most `most` of them.

    Edges are (client, server) names; `outside` is the world.

    >>> leak_paths([("outside", "front-end"), ("front-end", "user"), ("user", "user-db")], "user-db")
    [('user-db', 'user', 'front-end', 'outside')]
    """
    import networkx as nx

    graph = nx.Graph(sorted({(min(edge), max(edge)) for edge in allowed_edges if edge[0] != edge[1]}))
    if store not in graph or OUTSIDE not in graph or store == OUTSIDE or not nx.has_path(graph, store, OUTSIDE):
        return []
    paths = nx.shortest_simple_paths(graph, store, OUTSIDE)
    return [tuple(path) for path in islice(takewhile(lambda path: len(path) <= longest + 1, paths), most)]


def directed_paths(
    allowed_edges: Iterable[tuple[str, str]], store: str, max_hops: int, direction: str, count: int
) -> list[tuple[str, ...]]:
    """The first `count` paths of `leak_paths` that cross every hop in one direction, resolvers left out.

    `request`: the side that has the data is always the client; `reply`: it is always the server; `mixed`: any.
    """
    edges = [edge for edge in allowed_edges if not {*edge} & {*RESOLVERS}]
    paths = leak_paths(edges, store, max_hops, MOST_PATHS)
    wanted = {"request": {Carriage.push}, "reply": {Carriage.pull}}.get(direction, set(Carriage))
    return [path for path in paths if set(carriages(path, edges)) <= wanted][:count]


def resolved_paths(spec: ExfiltrationSpec, allowed_edges: Iterable[tuple[str, str]]) -> list[tuple[str, ...]]:
    """Paths of a scenario: the given one, or those generated; incidents take them in turn."""
    if spec.paths is None:
        return [tuple(spec.path)]
    wanted = spec.paths
    return directed_paths(allowed_edges, wanted.store, wanted.max_hops, wanted.direction, wanted.count)


def variants(spec: ExfiltrationSpec, paths: Sequence[Path]) -> list[tuple[Path, bool]]:
    """Paths as incidents take them in turn, each with whether its hops use the pods' own addresses."""
    by_pod = {"service": (False,), "pod": (True,), "both": (False, True)}[spec.address]
    return [(path, own) for path in paths for own in by_pod]


def branches(spec: ExfiltrationSpec, path: Path, allowed_edges: Iterable[tuple[str, str]]) -> tuple[Path, ...]:
    """Paths that the messages of one incident take in turn; () where there is one only.

    `one_to_n`: the store's data over several relays at once: the paths of the scenario from `path` on, repeated where
    they are fewer than branches. `n_to_1`: from each of the stores in turn, by the shortest path that ends as `path` does.
    A store without such a path has no branch.
    """
    fan = spec.fan
    if fan is None:
        return ()
    edges = list(allowed_edges)
    if fan.kind == "one_to_n":
        paths = resolved_paths(spec, edges)
        first = paths.index(path)
        return tuple(paths[(first + k) % len(paths)] for k in range(fan.branches))
    found = [path]
    for store in (name for name in fan.stores if name != path[0]):
        ways = leak_paths([e for e in edges if not {*e} & {*RESOLVERS}], store, MOST_HOPS, MOST_PATHS)
        if len(path) == 2:  # straight out, whether or not an edge allows it
            ways = [(store, OUTSIDE)]
        found += [way for way in ways if way[-2:] == path[-2:] or len(path) == 2][:1]
    return tuple(found[k % len(found)] for k in range(fan.branches))
