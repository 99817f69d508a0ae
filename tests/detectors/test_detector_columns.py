"""Columns: pods fold into services, unnamed outside clients into one; sums are kept."""

from __future__ import annotations

import numpy as np
import pytest

from mimir.detectors.columns import ANYONE, aligned, canonical, columns_of, outward_payload, total_bytes
from mimir.detectors.pods import pods_behind, present, real_names
from mimir.flows.edges import EdgeKey, EdgeSeries
from tests.support.toyshop import FE, OUT, Columns, Leak, Toy, _row, benign, key, shop, to_series

TOY = Toy(20, seed=4)


def visitors() -> EdgeSeries:
    """Two unnamed clients outside, and one with a name."""
    one = np.ones(TOY.windows)
    rows: Columns = {
        EdgeKey("outside:198.51.100.1", FE, 8079, "tcp"): _row(one, 100 * one, 1_000 * one),
        EdgeKey("outside:198.51.100.2", FE, 8079, "tcp"): _row(3 * one, 100 * one, 9_000 * one),
        EdgeKey(OUT, FE, 8079, "tcp"): _row(one, 100 * one, 500 * one),
    }
    return to_series(rows, TOY, {}, None)


@pytest.mark.parametrize(
    ("edge", "column"),
    [
        (EdgeKey("a-0", "b-1", 80, "tcp"), EdgeKey("a", "b", 80, "tcp")),
        (EdgeKey("outside:2001:db8::1", "b-0", 80, "tcp"), EdgeKey(ANYONE, "b", 80, "tcp")),
        (EdgeKey("a-0", "outside:198.51.100.1", 443, "tcp"), EdgeKey("a", "outside:198.51.100.1", 443, "tcp")),
        (EdgeKey("node:n", "b-0", 80, "tcp"), EdgeKey("node:n", "b", 80, "tcp")),
    ],
)
def test_canonical(edge: EdgeKey, column: EdgeKey) -> None:
    assert canonical(edge, {"a-0": "a", "b-0": "b", "b-1": "b"}) == column


def test_folding_keeps_sums() -> None:
    series = visitors()
    columns = columns_of(series)
    assert len(columns.keys) == 2
    folded = columns.fold(total_bytes(series))
    assert folded.sum() == pytest.approx(total_bytes(series).sum())
    assert columns.spread(folded, total_bytes(series)).sum() == pytest.approx(folded.sum())


def test_the_pod_view_folds_into_the_service_view() -> None:
    series = shop(TOY)
    assert series.pods is not None
    keys = columns_of(series).keys
    assert np.allclose(aligned(series.pods, "response_bytes", keys), aligned(series, "response_bytes", keys))


def test_columns_absent_from_a_series_are_zero() -> None:
    assert not aligned(visitors(), "exchanges", [key("carts", "carts-db")]).any()


def test_payload_goes_out_in_replies_to_clients_and_in_requests_to_servers() -> None:
    rows = benign(TOY)
    series = to_series(rows, TOY, {}, None)
    out = outward_payload(series)
    entry, resolver = key(OUT, FE), key("kube-dns", "outside:resolver")
    assert np.array_equal(out[:, series.edges.index(entry)], rows[entry]["response_payload_bytes"])
    assert np.array_equal(out[:, series.edges.index(resolver)], rows[resolver]["request_payload_bytes"])
    assert out.sum() == out[:, [series.edges.index(entry), series.edges.index(resolver)]].sum()


def test_folded_names_are_given_back() -> None:
    series = visitors()
    column = EdgeKey(ANYONE, FE, 8079, "tcp")
    assert present(column, series, 3).client == "outside:198.51.100.2"
    assert real_names(("user", ANYONE), series, 3) == ("user", "outside:198.51.100.2")
    assert real_names(("user", OUT), series, 3) == ("user", OUT)


def test_the_pod_with_the_excess_is_named() -> None:
    series = shop(TOY, Leak(5, 15, 1e7))
    assert series.pods is not None
    span, counter = slice(5, 15), "response_payload_bytes"
    edge = key("front-end", "user")
    usual = float(series.dense(counter)[:5, series.edges.index(edge)].mean() * 10)
    assert pods_behind(series, span, edge, counter, usual) == ("front-end-0", "user-0")
    assert pods_behind(series, span, key("nobody", "user"), counter, 0.0) == ()
