"""The floor, the allow-list and the subspace method, each against what it claims."""

from __future__ import annotations

import numpy as np
import pytest

from mimir.detectors.allowlist import Allowlist
from mimir.detectors.egress_volume import EgressVolume
from mimir.detectors.novelty import what_is_new
from mimir.detectors.pca_spe import PcaSpe
from mimir.errors import MimirError
from mimir.flows.edges import EdgeKey
from tests.support.toyshop import FE, OUT, Leak, Toy, benign, key, shop, to_series

FIT, TEST = shop(Toy(120, seed=1)), Toy(60, seed=2)
DIRECT = Leak(30, 40, 1e6, ("user-db", "outside:sink"))


def test_egress_counts_every_outward_byte() -> None:
    quiet, leaking = shop(TEST), shop(TEST, DIRECT)
    detector = EgressVolume().fit(FIT)
    gained = detector.score(leaking).score - detector.score(quiet).score
    edge = leaking.edges.index(key("user-db", "outside:sink"))
    assert gained == pytest.approx(leaking.dense("request_payload_bytes")[:, edge])
    assert detector.score(leaking).contributions.sum(axis=1) == pytest.approx(detector.score(leaking).score)


def test_egress_names_the_edge_that_rose() -> None:
    reason = EgressVolume().fit(FIT).explain(shop(TEST, DIRECT).at(35))[0]
    assert (reason.client, reason.server) == ("user-db", "outside:sink")
    assert reason.bytes_estimate == pytest.approx(1e6, rel=0.15)


def test_allowlist_scores_bytes_on_unknown_edges_only() -> None:
    detector = Allowlist().fit(FIT)
    assert not detector.score(shop(TEST)).score.any()
    assert not detector.score(shop(TEST, Leak(30, 40, 1e7))).score.any(), (
        "a leak over known edges is none of its business"
    )
    scores = detector.score(shop(TEST, DIRECT))
    assert (scores.score > 0).tolist() == [30 <= i < 40 for i in range(60)]


@pytest.mark.parametrize(
    ("edge", "words"),
    [
        (EdgeKey(FE, "user", 8080, "tcp"), "a known pair on a new port"),
        (EdgeKey("user", FE, 80, "tcp"), "a known pair, but opened from the other side"),
        (EdgeKey("user", "outside:sink", 443, "tcp"), "a destination outside never seen in training"),
        (EdgeKey("carts", "user-db", 27017, "tcp"), "a pair never seen in training"),
    ],
)
def test_every_kind_of_novelty_is_caught_and_named(edge: EdgeKey, words: str) -> None:
    detector = Allowlist().fit(FIT)
    rows = benign(TEST)
    rows[edge] = {c: v.copy() for c, v in rows[key(FE, "user")].items()}
    series = to_series(rows, TEST, FIT.workloads, None)
    assert (detector.score(series).score > 0).all()
    assert what_is_new(edge, detector.allowed) == words
    assert words in detector.explain(series.at(0))[0].text


def test_a_new_visitor_of_a_public_entry_is_not_new() -> None:
    def public(address: str):
        rows = benign(TEST)
        rows[EdgeKey(f"outside:{address}", FE, 8079, "tcp")] = rows.pop(key(OUT, FE))
        return to_series(rows, TEST, FIT.workloads, None)

    assert not Allowlist().fit(public("198.51.100.1")).score(public("198.51.100.2")).score.any()


def test_spe_is_the_sum_of_its_parts_and_zero_inside_the_subspace() -> None:
    detector = PcaSpe(1.0).fit(FIT)
    assert detector.score(FIT).score.max() < 1e-6 * len(FIT.edges)
    detector = PcaSpe(0.9).fit(FIT)
    scores = detector.score(shop(TEST))
    assert scores.contributions.sum(axis=1) == pytest.approx(scores.score)


def test_spe_matches_the_formula() -> None:
    detector = PcaSpe(0.8).fit(FIT)
    state = detector.state()
    total = FIT.dense("request_bytes") + FIT.dense("response_bytes")
    x = (total - state["mean"]) / state["scale"]
    v = state["components"].T
    assert v.shape[1] < v.shape[0]
    spe = (((np.eye(len(v)) - v @ v.T) @ x.T) ** 2).sum(axis=0)
    assert detector.score(FIT).score == pytest.approx(spe)


def test_spe_counts_new_edges_and_survives_constant_ones() -> None:
    detector = PcaSpe().fit(FIT)
    gained = detector.score(shop(TEST, DIRECT)).score - detector.score(shop(TEST)).score
    assert (gained[30:40] > 100).all()
    assert gained[:30] == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("share", [0.0, 1.5, -1.0])
def test_spe_refuses_impossible_shares(share: float) -> None:
    with pytest.raises(MimirError, match="variance_kept"):
        PcaSpe(share).fit(FIT)
