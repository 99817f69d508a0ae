"""The floor: what random, edge_count and pcr count, by hand."""

from __future__ import annotations

import pytest

from mimir.detectors.edge_count import EdgeCount
from mimir.detectors.pcr import LEAST_BYTES, Pcr
from mimir.detectors.random_scores import RandomScores
from tests.support.few_edges import few


def test_edge_count_counts_edges_in_use() -> None:
    detector = EdgeCount().fit(few({("a", "b"): [1.0, 1.0]}))
    scores = detector.score(few({("a", "b"): [5.0, 0.0, 1.0], ("b", "c"): [5.0, 0.0, 0.0]}))
    assert scores.score.tolist() == [2, 0, 1]
    assert scores.contributions.sum(axis=1).tolist() == [2, 0, 1]
    assert detector.explain(few({("a", "b"): [5.0], ("b", "c"): [5.0]}).at(0))[0].server == "c"


def test_pcr_by_hand() -> None:
    """b takes 1 kB and sends 3 kB, 4 kB, 5 kB: ratios with 1 kB added; median and 1.4826 MAD; then it sends 99 kB."""
    detector = Pcr().fit(few({("outside:u", "b"): [1000.0] * 3}, {("outside:u", "b"): [3000.0, 4000.0, 5000.0]}))
    ratios = [(sent - 1000) / (sent + 1000 + LEAST_BYTES) for sent in (3000, 4000, 5000, 99_000)]
    sigma = 1.4826 * min(ratios[1] - ratios[0], ratios[2] - ratios[1])
    scores = detector.score(few({("outside:u", "b"): [1000.0, 1000.0]}, {("outside:u", "b"): [99_000.0, 100.0]}))
    assert scores.score == pytest.approx([(ratios[3] - ratios[1]) / sigma, 0.0])
    assert scores.contributions.sum(axis=1) == pytest.approx(scores.score)


def test_random_depends_on_seed_and_window_only() -> None:
    one, two = few({("a", "b"): [1.0, 1.0]}), few({("a", "c"): [9e9, 0.0]})
    detector = RandomScores(1).fit(one)
    assert (detector.score(one).score == detector.score(two).score).all()
    assert (detector.score(one).score != RandomScores(2).fit(one).score(one).score).all()
