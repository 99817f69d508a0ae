"""ARX pairs, fitness, broken invariants and the ranking of causes against small systems that are known."""

from __future__ import annotations

import numpy as np
import pytest

from mimir.detectors.arx import Pairs, fit_pairs, fitness
from mimir.detectors.causal_rank import objective, rank_causes, spread_matrix
from mimir.detectors.invariant_network import InvariantNetwork
from mimir.errors import MimirError
from mimir.flows.edges import EdgeSeries
from tests.support.few_edges import few

RNG = np.random.default_rng(8)


def test_an_arx_process_is_found_again() -> None:
    """y(t) = 0.5 y(t−1) + 2 x(t) − 0.7 x(t−1) + 3, without noise."""
    x, y = RNG.normal(size=200), np.zeros(200)
    for t in range(1, 200):
        y[t] = 0.5 * y[t - 1] + 2 * x[t] - 0.7 * x[t - 1] + 3
    pairs = fit_pairs(np.stack([y[1:], x[1:]], axis=1), 1, 5)
    mine = int(np.flatnonzero(pairs.target == 0)[0])
    assert pairs.source[mine] == 1
    assert pairs.coefficients[mine] == pytest.approx([0.5, 2.0, -0.7, 3.0], abs=1e-5)


@pytest.mark.parametrize("order", [0, 1, 2, 3])
def test_all_pairs_at_once_equal_each_pair_by_least_squares(order: int) -> None:
    z = RNG.normal(size=(80, 4)).cumsum(axis=0)
    z = (z - z.mean(axis=0)) / z.std(axis=0)
    pairs = fit_pairs(z, order, 3)
    assert len(pairs) == 12
    for p in range(len(pairs)):
        y, x = z[:, pairs.target[p]], z[:, pairs.source[p]]
        past = [y[order - i : 80 - i] for i in range(1, order + 1)] + [x[order - j : 80 - j] for j in range(order + 1)]
        design = np.stack([*past, np.ones(80 - order)], axis=1)
        theta = np.linalg.lstsq(design, y[order:], rcond=None)[0]
        assert pairs.coefficients[p] == pytest.approx(theta, abs=1e-4)
        assert pairs.predictions(z)[order:, p] == pytest.approx(design @ theta, abs=1e-4)


def test_fitness_by_hand() -> None:
    """y = 2, 4, 6, 8 and ŷ = 2, 4, 6, 6: 1 − √(4 / 20); ŷ = ȳ: 0; ŷ = y: 1."""
    actual = np.array([[2.0, 4.0, 6.0, 8.0]]).T
    predicted = np.array([[2.0, 4.0, 6.0, 6.0], [5.0, 5.0, 5.0, 5.0], [2.0, 4.0, 6.0, 8.0]]).T
    assert fitness(np.tile(actual, 3), predicted) == pytest.approx([1 - (4 / 20) ** 0.5, 0.0, 1.0])


def test_the_first_windows_have_no_past_and_break_nothing() -> None:
    pairs = Pairs(np.array([0]), np.array([1]), np.array([[0.5, 1.0, 0.0, 0.0]]))
    assert pairs.predictions(np.array([[7.0, 1.0], [8.0, 2.0]])).ravel() == pytest.approx([7.0, 0.5 * 7 + 2])
    three = Pairs(np.array([0]), np.array([1]), np.zeros((1, 8)))
    assert three.predictions(np.array([[7.0, 1.0], [8.0, 2.0]])).ravel() == pytest.approx([7.0, 8.0])


def tied(windows: int, seed: int, leak: float = 0.0) -> EdgeSeries:
    """u asks f, f asks b and c twice as much; d lives for itself. `leak` bytes ride on f → b alone, from the middle on."""
    rng = np.random.default_rng(seed)
    users = rng.integers(50, 150, windows) * 1000.0
    extra = leak * (np.arange(windows) >= windows // 2)
    own = rng.integers(50, 150, windows) * 1000.0
    edges = {("outside:u", "f"): users, ("f", "b"): 2 * users + extra, ("f", "c"): 2 * users, ("d", "e"): own}
    return few({pair: row + rng.normal(0, 500, windows) for pair, row in edges.items()})


def test_only_what_belongs_together_is_an_invariant() -> None:
    detector = InvariantNetwork().fit(tied(120, 1))
    names = [f"{k.client}{k.server}" for k in detector._measures.keys] * 2 + [
        f"sent {s}" for s in detector._measures.services
    ]
    pairs = {frozenset((names[a], names[b])) for a, b in detector.invariants}
    assert frozenset(("fb", "fc")) in pairs
    assert not [p for p in pairs if len(p & {"de", "sent d"}) == 1], "d and e are tied to nothing but each other"


def test_a_leak_breaks_the_invariants_of_its_edge_and_is_ranked_first() -> None:
    detector = InvariantNetwork().fit(tied(120, 1))
    quiet, leaking = (detector.score(tied(60, 2, leak)).score for leak in (0.0, 50_000.0))
    assert quiet.mean() < 0.05
    assert leaking[:30].mean() < 0.05
    assert leaking[31:].mean() > 0.3
    reason = detector.explain(tied(60, 2, 50_000.0).at(45))[0]
    assert (reason.client, reason.server) == ("f", "b")
    assert reason.observed - reason.expected == pytest.approx(50_000, rel=0.1)
    assert detector.explain(tied(60, 2).at(0)) == []


def test_a_leak_that_all_hops_carry_in_proportion_breaks_nothing() -> None:
    detector = InvariantNetwork().fit(tied(120, 1))
    rng = np.random.default_rng(3)
    users = rng.integers(50, 150, 60) * 1000.0
    more = {("outside:u", "f"): users, ("f", "b"): 2 * users, ("f", "c"): 2 * users, ("d", "e"): users[::-1]}
    assert detector.score(few(more)).score.mean() < 0.05


def test_the_update_never_raises_the_objective_and_finds_the_hub() -> None:
    """A ring of six; everything around node 2 broke, and nothing else."""
    network = np.roll(np.eye(6), 1, axis=0) + np.roll(np.eye(6), -1, axis=0)
    network[0, 3] = network[3, 0] = 1.0
    broken = np.zeros((6, 6))
    broken[2, [1, 3]] = broken[[1, 3], 2] = 1.0
    cause = rank_causes(network, broken)
    assert cause.argmax() == 2
    assert (cause >= 0).all()
    spread = spread_matrix(network)
    assert objective(cause, network, broken, spread) < 0.7 * objective(np.full(6, 0.5), network, broken, spread)


def test_spread_by_hand() -> None:
    """Two nodes, one invariant: H = (1 − c) [[1, c], [c, 1]] / (1 − c²)."""
    spread = spread_matrix(np.array([[0.0, 1.0], [1.0, 0.0]]), 0.5)
    assert spread == pytest.approx(0.5 * np.array([[1.0, 0.5], [0.5, 1.0]]) / 0.75)


@pytest.mark.parametrize("bad", [{"order": -1}, {"per_measure": 0}, {"fitness": 1.0}])
def test_parameters_out_of_range_are_refused(bad: dict) -> None:
    with pytest.raises(MimirError, match=r"conf/detector/invariant_network\.yaml"):
        InvariantNetwork(**bad).fit(tied(60, 1))


def test_too_few_windows_are_refused() -> None:
    with pytest.raises(MimirError, match="at least 18 benign windows"):
        InvariantNetwork(order=2).fit(tied(17, 1))
