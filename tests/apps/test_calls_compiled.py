"""Call trees as arrays say the same as the YAML."""

from __future__ import annotations

import math

import numpy as np
from pydantic import TypeAdapter

from mimir.apps import allowed_edges, service_order
from mimir.apps.calls import compile_calls
from mimir.spec.app import AppSpec
from tests.cluster.simulated_samples import option, toy_app


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
