"""Layered drawing of a directed graph, deterministic: who asks stands before who answers.

The method of Sugiyama, Tagawa & Toda (1981): break cycles, assign layers by longest path, order each layer by the
median of its neighbours (long edges pass through dummy nodes), then move nodes towards their neighbours.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import fmean

Edge = tuple[str, str]
Item = Hashable  # a node name, or (client, server, layer) for a dummy
SWEEPS = 12


@dataclass(frozen=True)
class Layout:
    """`layer` of every node (0 = asks first) and `place` across the layer (any unit, centred on 0).

    `bends` are the (layer, place) points an edge passes between its ends, from client to server.
    """

    layer: dict[str, int]
    place: dict[str, float]
    bends: dict[Edge, tuple[tuple[int, float], ...]]


def layered(nodes: Iterable[str], edges: Iterable[Edge], last: Iterable[str] = ()) -> Layout:
    """Lay out a graph; nodes in `last` are put in the last layer. Self-loops are ignored."""
    names = sorted(set(nodes))
    pairs = sorted({(a, b) for a, b in edges if a != b})
    forward = _acyclic(names, pairs)
    layer = _layers(names, sorted(set(forward.values())), set(last))
    chains = {edge: _chain(edge, layer) for edge in pairs}
    columns, links = _columns(names, layer, chains.values())
    _order(columns, links)
    place = _places(columns, links)
    bends = {
        edge: tuple((_layer_of(item, layer), place[item]) for item in chain[1:-1]) for edge, chain in chains.items()
    }
    return Layout(layer, {name: place[name] for name in names}, bends)


def _acyclic(names: Sequence[str], edges: Sequence[Edge]) -> dict[Edge, Edge]:
    """Every edge → the same edge, or turned round where it would close a cycle (depth first, sources first)."""
    following = defaultdict(list)
    entered = dict.fromkeys(names, 0)
    for client, server in edges:
        following[client].append(server)
        entered[server] += 1
    state: dict[str, int] = {}
    turned: dict[Edge, Edge] = {}
    for root in sorted(names, key=lambda name: (entered[name] > 0, name)):
        if root in state:
            continue
        state[root] = 1
        stack = [(root, iter(following[root]))]
        while stack:
            node, rest = stack[-1]
            server = next(rest, "")
            if not server:
                state[node] = 2
                stack.pop()
                continue
            turned[node, server] = (server, node) if state.get(server) == 1 else (node, server)
            if server not in state:
                state[server] = 1
                stack.append((server, iter(following[server])))
    return turned


def _layers(names: Sequence[str], edges: Sequence[Edge], last: set[str]) -> dict[str, int]:
    before, after = defaultdict(list), defaultdict(list)
    for client, server in edges:
        before[server].append(client)
        after[client].append(server)
    layer: dict[str, int] = {}
    for name in _topological(names, before, after):
        layer[name] = 1 + max((layer[client] for client in before[name]), default=-1)
    for name in sorted(names, key=lambda n: -layer[n]):  # a source stands just before the first it asks
        if not before[name] and after[name] and layer[name] == 0:
            layer[name] = max(0, min(layer[server] for server in after[name]) - 1)
    end = max(layer.values(), default=0)
    for name in last & set(names):
        layer[name] = max(end, layer[name])
    return layer


def _topological(names: Sequence[str], before: Mapping[str, list[str]], after: Mapping[str, list[str]]) -> list[str]:
    waiting = {name: len(before[name]) if name in before else 0 for name in names}
    ready = [name for name in names if not waiting[name]]
    order = []
    while ready:
        node = ready.pop(0)
        order.append(node)
        for server in sorted(after[node]) if node in after else ():
            waiting[server] -= 1
            if not waiting[server]:
                ready.append(server)
    return order


def _chain(edge: Edge, layer: Mapping[str, int]) -> list[Item]:
    """The edge with a dummy in every layer it crosses, from client to server."""
    a, b = layer[edge[0]], layer[edge[1]]
    step = 1 if b > a else -1
    return [edge[0], *((*edge, between) for between in range(a + step, b, step)), edge[1]]


def _layer_of(item: Item, layer: Mapping[str, int]) -> int:
    return int(item[2]) if isinstance(item, tuple) else layer[str(item)]


def _columns(
    names: Sequence[str], layer: Mapping[str, int], chains: Iterable[list[Item]]
) -> tuple[list[list[Item]], dict[Item, list[Item]]]:
    columns: list[list[Item]] = [[] for _ in range(max(layer.values(), default=-1) + 1)]
    links: dict[Item, list[Item]] = {name: [] for name in names}
    for name in names:
        columns[layer[name]].append(name)
    for chain in chains:
        for item in chain[1:-1]:
            links.setdefault(item, [])
            columns[_layer_of(item, layer)].append(item)
        for one, two in pairwise(chain):
            links[one].append(two)
            links[two].append(one)
    return columns, links


def _order(columns: list[list[Item]], links: Mapping[Item, list[Item]]) -> None:
    """Sort every layer by the mean position of its neighbours in the layer before, then in the one after; in place.

    The order with the fewest crossings seen is kept.
    """
    best, fewest = [list(column) for column in columns], _crossings(columns, links)
    for sweep in range(SWEEPS):
        path = range(1, len(columns)) if sweep % 2 == 0 else range(len(columns) - 2, -1, -1)
        for i in path:
            near = {item: p for p, item in enumerate(columns[i - 1 if sweep % 2 == 0 else i + 1])}
            rank = {item: p for p, item in enumerate(columns[i])}
            mean = {
                k: fmean(near[n] for n in links[k] if n in near) if any(n in near for n in links[k]) else rank[k]
                for k in rank
            }
            columns[i].sort(key=lambda item: (mean[item], rank[item]))
        crossings = _crossings(columns, links)
        if crossings < fewest:
            best, fewest = [list(column) for column in columns], crossings
    columns[:] = best


def _crossings(columns: Sequence[Sequence[Item]], links: Mapping[Item, list[Item]]) -> int:
    total = 0
    for left, right in pairwise(columns):
        where = {item: p for p, item in enumerate(right)}
        ends = [
            where[n] for item in left for n in sorted((n for n in links[item] if n in where), key=where.__getitem__)
        ]
        total += sum(earlier > later for i, earlier in enumerate(ends) for later in ends[i + 1 :])
    return total


def _places(columns: Sequence[Sequence[Item]], links: Mapping[Item, list[Item]]) -> dict[Item, float]:
    """Positions across: neighbours attract, order and distance are kept (a node needs 1, a dummy 0.5)."""
    place = {item: p - (len(column) - 1) / 2 for column in columns for p, item in enumerate(column)}
    for sweep in range(SWEEPS):
        order = columns if sweep % 2 == 0 else list(reversed(columns))
        for column in order:
            wanted = [fmean(place[n] for n in links[k]) if links[k] else place[k] for k in column]
            place.update(zip(column, _spaced(column, wanted), strict=True))
    middle = (min(place.values()) + max(place.values())) / 2 if place else 0.0
    return {item: value - middle for item, value in place.items()}


def _spaced(column: Sequence[Item], wanted: Sequence[float]) -> list[float]:
    """The nearest positions (least squares) to `wanted` that keep the order and the gaps: pool adjacent violators."""
    gaps = [0.0]
    for one, two in pairwise(column):
        gaps.append(
            gaps[-1] + (0.5 if isinstance(one, tuple) else 1.0) / 2 + (0.5 if isinstance(two, tuple) else 1.0) / 2
        )
    blocks: list[list[float]] = []  # sum, count
    for value, gap in zip(wanted, gaps, strict=True):
        blocks.append([value - gap, 1.0])
        while len(blocks) > 1 and blocks[-2][0] / blocks[-2][1] > blocks[-1][0] / blocks[-1][1]:
            total, count = blocks.pop()
            blocks[-1][0] += total
            blocks[-1][1] += count
    flat = [total / count for total, count in blocks for _ in range(int(count))]
    return [value + gap for value, gap in zip(flat, gaps, strict=True)]
