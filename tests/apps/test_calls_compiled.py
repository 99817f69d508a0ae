"""Call trees as arrays say the same as the YAML."""

from __future__ import annotations

import math

import numpy as np
import pytest
from pydantic import TypeAdapter

from mimir.apps import allowed_edges, service_order
from mimir.apps.calls import compile_calls
from mimir.apps.graph import ANY, depths, play_order, uses
from mimir.spec.app import AppSpec, CallSpec
from tests.cluster.simulated_samples import CONF, option, toy_app


def sockshop() -> AppSpec:
    return TypeAdapter(AppSpec).validate_python(option("app", "sockshop"))


def test_toy_columns() -> None:
    app = TypeAdapter(AppSpec).validate_python(toy_app())
    trees = compile_calls(app)
    assert trees.endpoints == ("web:page", "web:buy", "store:read", "store:list", "store:add", "payments:charge")
    assert trees.first_call.tolist() == [0, 0, 3, 3, 3, 3, 3]
    assert trees.stage.tolist() == [0, 0, 1]
    assert [trees.endpoints[t] for t in trees.target] == ["store:read", "store:list", "payments:charge"]
    assert [app.edges[e].server for e in trees.edge] == ["store", "store", "payments"]
    assert trees.counts.tolist() == [[2, 2], [1, 1], [1, 1]]
    assert trees.largest.tolist() == [1, 5, 1, 1, 1, 1]
    assert trees.times[3].tolist() == [-1, 0]
    assert trees.inserts.tolist() == [-1, -1, -1, -1, 0, -1]
    assert np.allclose(trees.request[:, 0], math.log(100))
    assert np.allclose(trees.busy[:, 0], math.log(1e6))


def test_one_purchase_of_sock_shop_is_the_published_one() -> None:
    app = sockshop()
    trees = compile_calls(app)
    order = trees.endpoints.index("orders:create")
    rows = range(int(trees.first_call[order]), int(trees.first_call[order + 1]))
    stages: dict[int, list[str]] = {}
    for row in rows:
        stages.setdefault(int(trees.stage[row]), []).append(trees.endpoints[trees.target[row]])
    assert stages == {
        0: ["user:address_of_order", "user:customer_of_order", "user:card_of_order", "carts:items"],
        1: ["payment:authorise"],
        2: ["shipping:ship"],
        3: ["orders-db:insert"],
    }
    publish = trees.endpoints.index("rabbitmq:publish")
    trigger = int(trees.first_call[publish])
    assert trees.stage[trigger] == -1
    assert trees.endpoints[trees.target[trigger]] == "rabbitmq:deliver"
    assert app.edges[trees.edge[trigger]].client == "queue-master"


def test_sock_shop_has_the_edges_of_its_network_policies() -> None:
    policies = {
        ("outside", "front-end"), ("front-end", "carts"), ("orders", "carts"), ("carts", "carts-db"),
        ("front-end", "catalogue"), ("catalogue", "catalogue-db"), ("front-end", "orders"), ("orders", "orders-db"),
        ("orders", "payment"), ("shipping", "rabbitmq"), ("queue-master", "rabbitmq"), ("orders", "shipping"),
        ("front-end", "user"), ("orders", "user"), ("user", "user-db"),
    }  # fmt: skip
    assert allowed_edges(sockshop()) == policies | {("front-end", "session-db")}


def test_services_come_after_their_callers() -> None:
    app = sockshop()
    order = service_order(app)
    assert sorted(order) == sorted(app.services)
    for client, server in allowed_edges(app):
        assert client == "outside" or order.index(client) < order.index(server)


def check_order(app: AppSpec) -> None:
    """Every call's turn comes after the turns of the calls that can cause it."""
    turns, depth = play_order(app), depths(app)
    number = {(edge.client, edge.server): i for i, edge in enumerate(app.edges)}
    calls = [use for use in uses(app) if isinstance(use.spec, CallSpec)]

    def turn(client: str, server: str, cause: str) -> int:
        edge = number[client, server]
        return next(i for i, t in enumerate(turns) if t.edge == edge and t.depth in (ANY, depth[cause]))

    for use in calls:
        for parent in calls:
            if f"{parent.server}:{parent.endpoint}" == use.cause:
                assert turn(*parent[2:4], parent.cause) < turn(*use[2:4], use.cause)


@pytest.mark.parametrize("name", sorted(p.stem for p in (CONF / "app").glob("*.yaml") if p.stem != "generic"))
def test_calls_are_played_after_their_callers(name: str) -> None:
    check_order(TypeAdapter(AppSpec).validate_python(option("app", name)))


def test_services_that_call_each_other_are_played_by_depth() -> None:
    plain = toy_app()
    plain["services"]["store"]["kind"] = "app"
    plain["edges"].append({"client": "store", "server": "web", "connection": "per_request", "keep": 0, "idle_s": 0})
    once = {"probability": 1, "count": [1, 1]}
    plain["services"]["store"]["endpoints"]["read"]["calls"] = [[{"to": "web:page", **once}]]
    plain["services"]["web"]["endpoints"]["page"]["calls"] = [[{"to": "store:list", **once}]]
    app = TypeAdapter(AppSpec).validate_python(plain)
    turns = [(app.edges[t.edge].client, app.edges[t.edge].server, t.depth) for t in play_order(app)]
    assert turns == [
        ("outside", "web", ANY), ("web", "store", 0), ("store", "web", 1), ("web", "store", 2), ("web", "payments", ANY)
    ]  # fmt: skip
    check_order(app)
