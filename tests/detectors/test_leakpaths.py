"""Chains from a store to the outside, and the technique they stand for."""

from __future__ import annotations

import pytest

from mimir.detectors.leakpaths import Hop, leak_paths, path_through, technique_of
from mimir.flows.edges import EdgeKey
from tests.support.toyshop import CHAIN, DNS, EDGES, OUT, RESOLVER, key

KEYS = sorted([key(*edge) for edge in EDGES] + [key("user-db", DNS), key(DNS, RESOLVER), key("node:n", "user-db")])
STORE = frozenset({"user-db"})


def test_replies_carry_data_against_the_connection() -> None:
    path = next(p for p in leak_paths(KEYS, STORE, 4, 100) if p.nodes == CHAIN)
    assert path.hops == tuple(
        Hop(KEYS.index(key(*e)), True) for e in (("user", "user-db"), ("front-end", "user"), (OUT, "front-end"))
    )


def test_requests_carry_data_along_the_connection() -> None:
    path = next(p for p in leak_paths(KEYS, STORE, 4, 100) if p.nodes == ("user-db", DNS, RESOLVER))
    assert not any(hop.reply for hop in path.hops)


def test_paths_are_simple_short_first_and_avoid_nodes() -> None:
    paths = leak_paths(KEYS, STORE, 4, 100)
    assert [len(p.hops) for p in paths] == sorted(len(p.hops) for p in paths)
    for path in paths:
        assert len(set(path.nodes)) == len(path.nodes) <= 5
        assert path.nodes[0] == "user-db"
        assert path.nodes[-1].startswith("outside:")
        assert not any(n.startswith("node:") for n in path.nodes)


def test_stores_share_a_small_limit() -> None:
    paths = leak_paths(KEYS, frozenset({"user-db", "orders-db"}), 4, 4)
    assert {p.nodes[0] for p in paths} == {"user-db", "orders-db"}
    assert len(paths) == 4


def test_no_store_no_path() -> None:
    assert leak_paths(KEYS, frozenset(), 4, 100) == []


def test_the_way_to_a_new_edge_is_filled_in() -> None:
    assert path_through(KEYS, STORE, "front-end", "outside:evil") == ("user-db", "user", "front-end", "outside:evil")
    assert path_through(KEYS, STORE, "user-db", "carts")[:2] == ("user-db", "carts")
    assert path_through(KEYS, STORE, "user-db", "carts")[-1] in (OUT, RESOLVER)
    assert path_through([], STORE, "nowhere", "elsewhere") == ("nowhere", "elsewhere")


@pytest.mark.parametrize(
    ("path", "last", "technique"),
    [
        (("user-db", DNS, RESOLVER), key(DNS, RESOLVER), "T1048.003"),
        (("user-db", "outside:sink"), key("user-db", "outside:sink"), "T1048"),
        (CHAIN, key(OUT, "front-end"), "T1041"),
        (("user-db", "user"), key("user", "user-db"), "T1090.001"),
    ],
)
def test_technique(path: tuple[str, ...], last: EdgeKey, technique: str) -> None:
    assert technique_of(path, last) == technique
