"""Expanding requests into calls: tree, sizes and times, checked call by call on an application without randomness."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pydantic import TypeAdapter

from mimir.apps.calls import CallTrees, compile_calls
from mimir.cluster.simulated import expand
from mimir.cluster.simulated.expand import Content
from mimir.cluster.simulated.tables import (
    CHILDREN,
    DURATION,
    EDGE,
    ENDPOINT,
    FIRST_CHILD,
    PARENT,
    REQUEST,
    RESPONSE,
    START,
    new_calls,
)  # fmt: skip
from mimir.load.draws import state_of
from mimir.spec.app import AppSpec
from tests.cluster.simulated_samples import option, toy_app

MS = 1_000_000
OVERHEAD = np.array([0, 2 * MS, 3 * MS])


def expanded(
    plain: dict[str, Any], endpoint: str, count: int = 1, overhead: NDArray[np.int64] = OVERHEAD, share: float = 0.0
) -> tuple[NDArray[np.int64], CallTrees, NDArray[np.int64]]:
    trees = compile_calls(TypeAdapter(AppSpec).validate_python(plain))
    e = trees.endpoints.index(endpoint)
    calls = new_calls(int(trees.largest[e]) * count)
    calls[:count, START] = 10**9 + np.arange(count) * 10**9
    calls[:count, ENDPOINT], calls[:count, EDGE] = e, 0
    collections = np.array([*plain["collections"].values(), 0])
    content = Content(np.zeros((1, len(plain["services"]))), share, 10**9)
    model = expand.model_of(trees)
    used = expand.expand(calls, count, model, collections, content, overhead, state_of(np.random.SeedSequence(1)))
    return calls[:used], trees, collections


def test_tree_sizes_and_times_of_one_request() -> None:
    calls, trees, _ = expanded(toy_app(), "web:buy")
    names = [trees.endpoints[e] for e in calls[:, ENDPOINT]]
    assert names == ["web:buy", "store:read", "store:read", "store:list", "payments:charge"]
    assert calls[1:, PARENT].tolist() == [0, 0, 0, 0]
    assert calls[:, REQUEST].tolist() == [100] * 5
    own, carried = 200, 1000 + 1000 + 50 * 10 + 300
    assert calls[:, RESPONSE].tolist() == [own + carried // 2, 1000, 1000, 500, 300]
    # first stage: two reads in a row (2 × (2 + 1) ms) beside the list (2 + 1 ms); second: 3 + 1 ms; own time 1 ms
    assert calls[0, DURATION] == pytest.approx((1 + 6 + 4) * MS, abs=10)
    start = calls[:, START] - 10**9
    third = MS / 3
    assert start.tolist() == pytest.approx([0, third, third + 3 * MS, third, 2 * third + 6 * MS], abs=10)


def test_parents_wait_for_their_children() -> None:
    app = option("app", "sockshop")
    overhead = np.full(len(app["edges"]), MS)
    calls, trees, _ = expanded(app, "front-end:order", 50, overhead)
    end = calls[:, START] + overhead[calls[:, EDGE]] + calls[:, DURATION]
    waited = 0
    for i, row in enumerate(calls):
        for j in range(row[FIRST_CHILD], row[FIRST_CHILD] + row[CHILDREN]):
            assert calls[j, PARENT] == i
            assert calls[j, START] >= row[START]
            trigger = trees.endpoints[calls[j, ENDPOINT]] == "rabbitmq:deliver"
            assert (end[j] > end[i]) if trigger else (end[j] <= end[i])
            waited += not trigger
    assert waited == 50 * 23


def test_the_calls_of_sock_shop_are_as_many_as_the_model_says() -> None:
    app = option("app", "sockshop")
    calls, trees, _ = expanded(app, "front-end:order", 400, np.zeros(len(app["edges"]), dtype=np.int64))
    count = np.bincount(calls[:, ENDPOINT], minlength=len(trees.endpoints)) / 400
    per_order = dict(zip(trees.endpoints, count.tolist(), strict=True))
    assert per_order["user-db:find_customer"] == 4
    assert per_order["user-db:find_address"] == 2
    assert per_order["payment:authorise"] == 1
    assert per_order["rabbitmq:deliver"] == 1
    assert per_order["carts-db:find"] == 1


def test_probabilities_and_counts_are_drawn() -> None:
    plain = toy_app()
    plain["services"]["web"]["endpoints"]["buy"]["calls"] = [
        [{"to": "store:read", "probability": 0.25, "count": [1, 3]}]
    ]
    calls, trees, _ = expanded(plain, "web:buy", 4000)
    reads = int((calls[:, ENDPOINT] == trees.endpoints.index("store:read")).sum())
    assert reads / 4000 == pytest.approx(0.25 * 2, abs=0.04)


def test_lists_grow_with_what_is_inserted() -> None:
    plain = toy_app()
    plain["services"]["web"]["endpoints"]["buy"]["calls"] = [
        [{"to": "store:add", "probability": 1, "count": [1, 1]}],
        [{"to": "store:list", "probability": 1, "count": [1, 1]}],
    ]
    calls, trees, collections = expanded(plain, "web:buy", 5)
    assert collections[0] == 15
    lists = calls[calls[:, ENDPOINT] == trees.endpoints.index("store:list")]
    assert lists[:, RESPONSE].tolist() == sorted(lists[:, RESPONSE].tolist())
    assert lists[-1, RESPONSE] == 50 * 15


def test_a_common_part_moves_all_replies_of_a_minute_together() -> None:
    plain = toy_app()
    plain["services"]["store"]["endpoints"]["read"]["response"]["bytes"] = [1000, 0.2]

    def spread(share: float) -> tuple[float, float]:
        trees = compile_calls(TypeAdapter(AppSpec).validate_python(plain))
        model, random = expand.model_of(trees), state_of(np.random.SeedSequence(5))
        drift = np.random.default_rng(1).standard_normal((200, 3))
        means, logs = [], []
        for minute in range(200):
            calls = new_calls(30)
            calls[:, START], calls[:, ENDPOINT], calls[:, EDGE] = 1, trees.endpoints.index("store:read"), 0
            content = Content(drift[minute : minute + 1], share, 0)
            expand.expand(calls, 30, model, np.array([1, 0]), content, OVERHEAD, random)
            means.append(float(np.log(calls[:, RESPONSE]).mean()))
            logs.append(np.log(calls[:, RESPONSE]))
        return float(np.std(means)), float(np.std(logs))

    apart, together = spread(0.0), spread(0.5)
    assert together[0] == pytest.approx(0.2 * np.sqrt(0.5), rel=0.2)
    assert apart[0] == pytest.approx(0.2 / np.sqrt(30), rel=0.3)
    assert together[1] == pytest.approx(apart[1], rel=0.1)  # the spread of single replies stays
