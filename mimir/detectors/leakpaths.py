"""Ways data could leave: simple chains of edges from a sensitive store to the outside.

Data moves against the direction of a connection in replies, with it in requests; every edge gives both arcs.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from mimir.detectors.columns import NODE
from mimir.flows.edges import EdgeKey, is_outside

DNS_PORT = 53


class Hop(NamedTuple):
    """One step of the data: over edge number `edge`, in the reply (server → client) or in the request."""

    edge: int
    reply: bool


@dataclass(frozen=True)
class LeakPath:
    """Nodes the data passes (store first, outside last) and the hops between them."""

    nodes: tuple[str, ...]
    hops: tuple[Hop, ...]


Arcs = Mapping[str, list[tuple[str, Hop]]]


def arcs_of(keys: Sequence[EdgeKey]) -> dict[str, list[tuple[str, Hop]]]:
    """Source → [(sink, hop)], sorted by sink, then edge; self-loops are left out."""
    out: dict[str, list[tuple[str, Hop]]] = {}
    for i, key in enumerate(keys):
        if key.client == key.server:
            continue
        out.setdefault(key.server, []).append((key.client, Hop(i, True)))
        out.setdefault(key.client, []).append((key.server, Hop(i, False)))
    return {node: sorted(steps, key=lambda s: (s[0], keys[s[1].edge], s[1].reply)) for node, steps in out.items()}


def _may_relay(node: str) -> bool:
    return not is_outside(node) and not node.startswith(NODE)


def _walk(arcs: Arcs, store: str, max_hops: int) -> Iterator[LeakPath]:
    """Simple paths from one store to any outside node, breadth first."""
    queue: deque[LeakPath] = deque([LeakPath((store,), ())])
    while queue:
        path = queue.popleft()
        for node, hop in arcs.get(path.nodes[-1], []):
            if node in path.nodes:
                continue
            longer = LeakPath((*path.nodes, node), (*path.hops, hop))
            if is_outside(node):
                yield longer
            elif len(longer.hops) < max_hops and _may_relay(node):
                queue.append(longer)


def leak_paths(keys: Sequence[EdgeKey], stores: frozenset[str], max_hops: int, limit: int) -> list[LeakPath]:
    """At most `limit` simple paths of at most `max_hops` hops from a store to outside, shortest first.

    Stores take turns, so a store with many paths does not crowd out the others.
    """
    arcs = arcs_of(keys)
    walks = [_walk(arcs, store, max_hops) for store in sorted(stores)]
    found: list[LeakPath] = []
    while walks and len(found) < limit:
        for walk in list(walks):
            path = next(walk, None)
            if path is None:
                walks.remove(walk)
            elif len(found) < limit:
                found.append(path)
    return sorted(found, key=lambda p: (len(p.hops), p.nodes, p.hops))


def path_through(keys: Sequence[EdgeKey], stores: frozenset[str], source: str, sink: str) -> tuple[str, ...]:
    """The shortest chain store … source → sink … outside over `keys`; ends are left open where there is no way.

    >>> keys = [EdgeKey("user", "user-db", 27017, "tcp")]
    >>> path_through(keys, frozenset({"user-db"}), "user", "outside:sink")
    ('user-db', 'user', 'outside:sink')
    """
    arcs = arcs_of(keys)
    before: tuple[str, ...] = (source,)
    if source not in stores:
        chains = (_shortest(arcs, store, source, {sink}) for store in sorted(stores))
        before = min((c for c in chains if c), key=len, default=(source,))
    if is_outside(sink):
        return (*before, sink)
    return (*before, *(_shortest(arcs, sink, None, set(before)) or (sink,)))


def _shortest(arcs: Arcs, start: str, goal: str | None, avoid: set[str]) -> tuple[str, ...]:
    """Shortest chain start … goal (None: any outside node), () if there is none."""
    came: dict[str, str] = {start: ""}
    queue = deque([start])
    while queue:
        node = queue.popleft()
        if node == goal or (goal is None and is_outside(node)):
            chain = [node]
            while came[chain[-1]]:
                chain.append(came[chain[-1]])
            return tuple(reversed(chain))
        if not _may_relay(node):
            continue
        for step, _ in arcs.get(node, []):
            if step not in came and step not in avoid:
                came[step] = node
                queue.append(step)
    return ()


def technique_of(path: Sequence[str], last: EdgeKey) -> str:
    """ATT&CK id that fits a chain whose last edge, the one nearest to the outside, is `last`.

    T1048.003 over DNS, T1048 uploaded to a server outside, T1041 in replies to a client outside, T1090.001 inside.
    """
    if last.server_port == DNS_PORT:
        return "T1048.003"
    if is_outside(last.server):
        return "T1048"
    return "T1041" if path and is_outside(path[-1]) else "T1090.001"
