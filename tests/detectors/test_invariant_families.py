"""Replicas and look-ups are judged by what they were asked, and tests are ranked as they would be one by one."""

from __future__ import annotations

import numpy as np
import pytest

from mimir.detectors.invariants import chains, tails
from mimir.detectors.invariants.outside_counts import NAMES, Part, targets
from mimir.detectors.invariants.strongest import Bench
from mimir.detectors.invariants.symmetry import symmetries
from mimir.flows.edges import EdgeKey, EdgeSeries
from tests.support.toyshop import Toy, to_series

T = 6
PODS = {"list-0": "list", "list-1": "list", "page-0": "page", "help-0": "help"}
DNS = EdgeKey("page", "kube-dns", 53, "udp")


def pod_view(calls: dict[tuple[str, str], tuple[float, float]], opened: float = 0.0, names: float = 0.0) -> EdgeSeries:
    """A series whose pod view has (requests, bytes a reply) for (client pod, server pod), and look-ups of page-0."""
    zero = np.zeros(T)
    counters = ("request_bytes", "response_bytes", "request_payload_bytes", "request_packets", "response_packets",
                "connections", "mediated_bytes", "dns_queries", "dns_name_bytes", "exchanges", "response_payload_bytes")  # fmt: skip
    rows = {}
    for (client, server), (count, size) in calls.items():
        row = dict.fromkeys(counters, zero) | {"exchanges": zero + count, "response_payload_bytes": zero + count * size}
        rows[EdgeKey(client, server, 80, "tcp")] = row | {"connections": zero + opened, "request_bytes": zero + 1}
    rows[DNS._replace(client="page-0")] = dict.fromkeys(counters, zero) | {"dns_name_bytes": zero + names, "request_bytes": zero + 1}  # fmt: skip
    pods = to_series(rows, Toy(T), PODS, None)
    return EdgeSeries(60, pods.window_start, (DNS,), pods.table.iloc[:0], PODS, pods=pods)


def test_pods_are_compared_over_callers_that_both_serve() -> None:
    """A gRPC client stays with one pod: list-1 alone serves `help`, whose replies are ten times as large."""
    calls = {("page-0", "list-0"): (100.0, 400.0), ("page-0", "list-1"): (50.0, 400.0), ("help-0", "list-1"): (80.0, 4000.0)}  # fmt: skip
    side = symmetries(pod_view(calls))["list"]
    assert side.pods == ("list-0", "list-1")
    assert np.abs(side.difference).max() < 0.01
    assert side.sent[0].tolist() == [40_000.0, 20_000.0], "what only one of them was asked is left out"
    assert side.inverse[0] == pytest.approx([1 / 100 + 1 / 50] * 2)


def test_a_pod_that_returns_more_to_the_same_caller_stands_out() -> None:
    calls = {("page-0", "list-0"): (100.0, 400.0), ("page-0", "list-1"): (50.0, 480.0)}
    difference = symmetries(pod_view(calls))["list"].difference[0]
    assert difference == pytest.approx([-np.log(1.2), np.log(1.2)], abs=1e-3)


def test_pods_without_a_common_caller_are_not_judged() -> None:
    calls = {("page-0", "list-0"): (100.0, 400.0), ("help-0", "list-1"): (80.0, 4000.0)}
    assert np.isnan(symmetries(pod_view(calls))["list"].difference).all()


def test_look_ups_are_explained_by_the_connections_a_pod_opens() -> None:
    series = pod_view({("page-0", "list-0"): (100.0, 400.0)}, opened=7, names=210)
    asked, opened = targets(series, [Part(NAMES, DNS)], [])[0]
    assert asked.tolist() == [210.0] * T
    assert opened.ravel().tolist() == [7.0] * T


def test_sums_over_many_lengths_are_those_of_each_length() -> None:
    rng = np.random.default_rng(1)
    signal = chains.Signal(
        rng.normal(size=40), rng.uniform(0.5, 2, 40), rng.uniform(0, 0.5, (40, 3)), rng.uniform(0, 0.5, (40, 3))
    )
    together = chains.statistics(signal, (1, 5, 15))
    for k, length in enumerate((1, 5, 15)):
        assert together[:, k] == pytest.approx(chains.statistic(signal, length))


def test_ranking_before_p_values_changes_nothing() -> None:
    rng = np.random.default_rng(2)
    tests, lengths, freedom = rng.normal(1, 2, (9, 50, 3)), (1, 5, 15), np.array([250.0, 58.0, 26.0])
    price, dns = np.repeat([0.0, 0.3, 1.0], 3), np.arange(9) % 2 == 1
    bench = Bench(np.zeros((9, 3)), np.ones((9, 3)), freedom, price, dns)
    found = bench.judge(tests, lengths)
    one_by_one = np.stack([tails.surprise(chains.held(z, lengths), freedom) - p for z, p in zip(tests, price, strict=True)])  # fmt: skip
    assert found.surprise == pytest.approx(np.maximum(one_by_one.max(axis=(0, 2)), 0))
    positive = found.surprise > 0
    assert (found.test[positive] == one_by_one.max(axis=2).argmax(axis=0)[positive]).all()
    assert found.dns == pytest.approx(np.maximum(one_by_one[dns].max(axis=(0, 2)), 0))
