"""Requests against fingerprints of their client: each of the four parts, refusal without headers."""

from __future__ import annotations

import pandas as pd
import pytest

from mimir.detectors.http_fingerprint import HttpFingerprint
from mimir.errors import MimirError
from mimir.flows.edges import EdgeSeries
from tests.detectors.rival_samples import START, series, tcp

EDGE, OUT = tcp("carts", "orders"), tcp("carts", "outside:sink")
USUAL = {"method": "POST", "host": "orders", "uri": "/orders/17?fast=1", "agent": "java/17", "length": "200"}


def sent(*requests: dict[str, str], receiver: str = "orders-0") -> EdgeSeries:
    """One window a request, from pod carts-0."""
    made = series({edge: {"request_packets": [1.0] * len(requests)} for edge in (EDGE, OUT)})
    table = pd.DataFrame([{
        "window": i, "ts": START + 60.0 * i, "sender": "carts-0", "receiver": receiver, "port": 80, "http.request.method": r["method"],
        "http.host": r["host"], "http.request.uri": r["uri"], "http.user_agent": r["agent"],
        "http.content_length": r["length"]} for i, r in enumerate(requests)])  # fmt: skip
    return EdgeSeries(
        60, made.window_start, made.edges, made.table, {"carts-0": "carts", "orders-0": "orders"}, messages=table
    )


@pytest.mark.parametrize(
    ("change", "score"),
    [
        ({}, 0),
        ({"uri": "/orders/99?fast=1"}, 0),  # another number is the same action
        ({"length": "400"}, 0),  # 406 of at most 2 · 206
        ({"length": "900"}, 1 + 906),
        ({"host": "evil.example"}, 1 + 206),
        ({"agent": "curl/8"}, 1 + 206),
        ({"method": "PUT"}, 1 + 206),
        ({"uri": "/admin", "length": ""}, 1),  # nothing in query or body: the request itself
    ],
)
def test_every_part_counts(change: dict[str, str], score: float) -> None:
    detector = HttpFingerprint().fit(sent(USUAL))
    scores = detector.score(sent(USUAL | change))
    assert scores.score.tolist() == [score]
    assert scores.contributions[0].tolist() == [score, 0]


def test_a_lower_similarity_forgives_one_part() -> None:
    detector = HttpFingerprint().set_params(similarity=0.75).fit(sent(USUAL))
    assert detector.score(sent(USUAL | {"agent": "curl/8"})).score.tolist() == [0]
    assert detector.score(sent(USUAL | {"agent": "curl/8", "host": "evil.example"})).score.tolist() == [207]


def test_a_request_of_a_service_without_fingerprints_is_strange_and_named() -> None:
    detector = HttpFingerprint().fit(sent(USUAL))
    windows = sent(USUAL, USUAL | {"host": "evil.example", "uri": "/", "length": "5000"}, receiver="outside:sink")
    assert detector.score(windows).contributions[1].tolist() == [0, 5001]
    (reason,) = detector.explain(windows.at(1))
    assert (reason.client, reason.server) == ("carts", "outside:sink")
    assert "'POST /' to evil.example by 'java/17' fits no fingerprint" in reason.text
    assert detector.explain(windows.at(0)) == []


def test_captures_without_headers_are_refused() -> None:
    bare = series({EDGE: {"request_packets": [1.0]}})
    with pytest.raises(MimirError, match=r"reads the heads of HTTP requests .* capture\.dissector=own"):
        HttpFingerprint().fit(bare)
    with pytest.raises(MimirError, match="found no head of an HTTP request in the fit recording"):
        HttpFingerprint().fit(sent(USUAL | {"method": None}))  # type: ignore[dict-item]
