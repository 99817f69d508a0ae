"""What the drawing of a service graph shows: kinds of nodes, the edges worth a line, the hops of the leak."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import networkx as nx

OUTSIDE, NODE = "outside:", "node:"
BARE_OUTSIDE = "outside"  #: in a ledger: somebody beyond the cluster
RESOLVERS = ("kube-dns", "coredns")
DNS_PORTS = {"53/udp", "53/tcp"}
STORE = re.compile(r"(db|mongo|mongodb|mysql|postgres|postgresql|redis|memcached|rabbitmq|kafka|pxc|store)$")
ADDRESS = re.compile(r"[0-9.]+|[0-9a-f]*:[0-9a-f:.]+")
BYTES = ("request_bytes", "response_bytes")
MAX_NODES = 40
Edge = tuple[str, str]


@dataclass(frozen=True)
class GraphContent:
    """`edges` → bytes; `leak`: edge that carries a hop → the hop (from, to) of the data; `left_out`: edges not shown, in words.

    `loops`: nodes whose pods talk to each other → bytes.
    """

    kinds: dict[str, str]
    edges: dict[Edge, float]
    leak: dict[Edge, Edge]
    hidden: int  #: nodes left out (the quietest ones)
    left_out: tuple[str, ...]
    loops: dict[str, float]


def graph_content(
    graph: nx.DiGraph, paths: Iterable[list[str]], sensitive: Collection[str], stores: Collection[str] = ()
) -> GraphContent:
    """Choose what to draw. `stores` are services known to be stores; without any, names tell."""
    hops = {hop: None for path in paths for hop in pairwise(path) if hop[0] != hop[1]}
    sizes = {(a, b): _bytes(data) for a, b, data in graph.edges(data=True) if a != b}
    leak = {_edge_of(hop, sizes): hop for hop in hops}
    probes = [edge for edge in sizes if edge[0].startswith(NODE) and edge not in leak]
    lookups = [edge for edge in sizes if _is_lookup(edge, graph) and edge not in leak and edge not in probes]
    edges = {edge: size for edge, size in sizes.items() if edge not in {*probes, *lookups}}
    on_path = {name for hop in hops for name in hop}
    shown = {name for edge in edges for name in edge} | on_path or set(graph.nodes)
    kept = _busiest(shown, edges, on_path)
    return GraphContent(
        kinds={name: node_kind(name, sensitive, stores) for name in kept},
        edges={edge: size for edge, size in edges.items() if edge[0] in kept and edge[1] in kept},
        leak=leak,
        hidden=len(shown) - len(kept),
        left_out=(
            *_words(probes, "probe of a node", "probes of nodes"),
            *_words(lookups, "DNS lookup edge", "DNS lookup edges"),
        ),
        loops={a: _bytes(data) for a, b, data in graph.edges(data=True) if a == b and a in kept},
    )


def _words(edges: Collection[Edge], one: str, many: str) -> list[str]:
    return [f"{len(edges)} {one if len(edges) == 1 else many}"] if edges else []


def node_kind(name: str, sensitive: Collection[str], stores: Collection[str] = ()) -> str:
    """What a node is: outside, sensitive, store or service.

    >>> node_kind("outside:users", []), node_kind("user-db", ["user-db"]), node_kind("orders-db", [])
    ('outside', 'sensitive', 'store')
    """
    if name.startswith(OUTSIDE) or name == BARE_OUTSIDE:
        return "outside"
    if name in sensitive:
        return "sensitive"
    return "store" if name in stores or (not stores and STORE.search(name)) else "service"


def resolve_paths(graph: nx.DiGraph | None, paths: Iterable[list[str]]) -> list[list[str]]:
    """Paths whose end is a bare `outside` end where the last service really talks to: an unknown address before a known name."""
    return [
        [*path[:-1], _outside_of(graph, path[-2])] if path[-1:] == [BARE_OUTSIDE] and len(path) > 1 else path
        for path in paths
    ]


def _outside_of(graph: nx.DiGraph | None, service: str) -> str:
    if graph is None or service not in graph:
        return BARE_OUTSIDE
    near = {*graph.successors(service), *graph.predecessors(service)}
    found = [name for name in near if name.startswith(OUTSIDE)]
    return min(
        found,
        key=lambda n: (not ADDRESS.fullmatch(n.removeprefix(OUTSIDE)), -_between(graph, service, n), n),
        default=BARE_OUTSIDE,
    )


def _between(graph: nx.DiGraph, one: str, two: str) -> float:
    return _bytes(graph.get_edge_data(one, two, {})) + _bytes(graph.get_edge_data(two, one, {}))


def _is_lookup(edge: Edge, graph: nx.DiGraph) -> bool:
    """An edge that only asks the cluster's resolver for names."""
    if edge[1].startswith(OUTSIDE):
        return False
    ports = graph.edges[edge].get("ports")
    return set(str(ports).split()) <= DNS_PORTS if ports else edge[1] in RESOLVERS


def _bytes(data: Mapping[str, Any]) -> float:
    return float(sum(float(data.get(name, 0)) for name in BYTES)) or float(data.get("bytes", 0) or 0)


def _busiest(names: Collection[str], sizes: Mapping[Edge, float], always: set[str]) -> set[str]:
    total: dict[str, float] = defaultdict(float)
    for (client, server), size in sizes.items():
        total[client] += size
        total[server] += size
    order = sorted(names, key=lambda name: (name not in always, -total[name], name))
    return set(order[: max(MAX_NODES, len(always))])


def _edge_of(hop: Edge, edges: Mapping[Edge, float]) -> Edge:
    """The edge that carries data from hop[0] to hop[1]: as requests, or as the responses of the edge turned round."""
    return (hop[1], hop[0]) if hop not in edges and (hop[1], hop[0]) in edges else hop
