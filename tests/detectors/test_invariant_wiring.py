"""Rules inside `invariants` that no end-to-end figure would miss at once: each is pinned where it acts."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from types import SimpleNamespace

import numpy as np
import pytest

from mimir.detectors.base import Reason
from mimir.detectors.combination import Combination
from mimir.detectors.invariants import Invariants, chains, sizes
from mimir.detectors.invariants import targets as tg
from mimir.detectors.invariants.volume import Volume
from mimir.detectors.leakpaths import Hop
from mimir.flows.edges import Window
from tests.support.toyshop import Toy, shop

LENGTHS = (1, 3, 10)


@cache
def learned() -> Volume:
    return Volume(1, 0.01, (1, 5)).fit(shop(Toy(120, seed=1)))


def residuals(**parts: np.ndarray) -> tg.Residuals:
    zero = np.zeros_like(next(iter(parts.values())))
    return tg.Residuals(**{"observed": zero, "expected": zero, "sigma": zero + 1, "shared": zero, "cut": zero} | parts)


# what the ends of windows cut off
def test_what_one_window_lacks_the_next_has_too_much() -> None:
    cut = np.random.default_rng(4).uniform(0, 2, (12, 3))
    for length in LENGTHS:
        for t in range(12):
            inside = cut[max(0, t + 1 - length) : t + 1]
            # an end between two windows adds to one what it takes from the other: a variable of variance ½ each
            weights = np.vstack([inside, np.zeros(3)]) - np.vstack([np.zeros(3), inside])
            assert chains.ends(cut, length)[t] == pytest.approx((weights**2).sum() / 2)


def test_one_cause_at_the_edge_is_no_news_and_many_are() -> None:
    one = chains.Test((0,), (1.0,), -1, np.inf)
    sigma, cut = np.full((9, 1), np.hypot(0.3, 2.0)), np.full((9, 1), 2.0)
    edge, steady = np.zeros((9, 1)), np.full((9, 1), 3.0)
    edge[4], edge[5] = 3.0, -3.0  # seen in one window, expected in the next
    for values, low, high in ((edge, 0, 2), (steady, 4, 99)):
        scales = residuals(sigma=sigma, cut=cut)
        signal = chains.signal_of(one, values / sigma, scales, np.eye(1))
        found = chains.statistics(signal, (1, 5))
        assert low < found[4:9].max() < high
    assert found[8, 1] == pytest.approx(15 / np.hypot(0.3 * 5**0.5, 2.0))


def test_causes_on_other_edges_may_be_cut_off_and_those_of_the_same_exchange_not() -> None:
    for invariant in learned().invariants:
        dns, own = learned().dns[invariant.target.edge], invariant.target.kind == tg.OWN
        wanted = 0.0 if dns or own else tg.CUT * max(0.0, *invariant.fit.beta[1:]) if invariant.regressors else 0.0
        assert invariant.cut == pytest.approx(wanted)
    assert max(i.cut for i in learned().invariants) > 0


def test_fit_calibrate_and_score_judge_by_the_same_residual(monkeypatch: pytest.MonkeyPatch) -> None:
    benign = shop(Toy(120, seed=1))
    counts = tg.Counts(benign, learned().keys, learned().dns)
    made, held_out = tg.fit_invariants(counts, learned().keys, learned().dns, learned().paths, 1, 0.01, 5, 60)
    found = tg.residuals_of(made, counts)
    largest = int(np.argmax([i.cut / i.fit.s0_squared**0.5 for i in made]))
    bare = [replace(i, cut=0.0) for i in made]
    assert (found.sigma**2 - tg.residuals_of(bare, counts).sigma ** 2)[:, largest] == pytest.approx(
        made[largest].cut ** 2
    )
    assert found.uncut().sigma == pytest.approx(tg.residuals_of(bare, counts).sigma)
    monkeypatch.setattr(tg, "CUT", 0.0)
    _, whole = tg.fit_invariants(counts, learned().keys, learned().dns, learned().paths, 1, 0.01, 5, 60)
    noise = made[largest].fit.predict(counts.matrix(made[largest].regressors))[1]
    assert held_out[:, largest] == pytest.approx(whole[:, largest] / np.sqrt(1 + made[largest].cut ** 2 / noise))


# weights and sizes
def test_no_weight_against_the_direction_of_a_leak() -> None:
    inner = np.array([[1.0, 0.9], [0.9, 1.0]])
    h = np.array([[1.0, 0.3]])
    assert (h @ np.linalg.inv(inner))[0, 1] < 0
    w = chains.weights_of(h, inner)
    assert w[0, 1] == 0
    assert (w @ inner @ w.T).item() == pytest.approx((w @ h.T).item())


def test_a_burst_in_the_window_asked_about_does_not_size_the_leak(monkeypatch: pytest.MonkeyPatch) -> None:
    amounts = np.column_stack([np.full(10, 5000.0), np.full(10, 2.0)])
    monkeypatch.setattr(sizes, "window_sizes", lambda *_: amounts)
    monkeypatch.setattr(sizes, "_first", lambda *_: 0)
    made = sizes.Sizes((1, 5))
    made.quantiles, made.level = np.zeros((1, 2, 5)), np.ones(1)
    made.quantiles[0, 0] = [-200, -70, 0, 70, 200]

    def size() -> float:
        return made.of(0, [], residuals(expected=np.ones((10, 1))), [Hop(0, True)], [False], np.eye(1)).estimate

    amounts[-1, 0] = 6000.0
    assert 5500 < size() <= 6000, "the window's own estimate counts"
    amounts[-1, 0] = 5e6
    assert size() == pytest.approx(5000.0)


# reasons
@pytest.mark.parametrize(("p_value", "first"), [(1e-6, "I3"), (1e-3, "I4")])
def test_a_chain_that_convinces_speaks_before_what_sees_a_part_of_it(p_value: float, first: str) -> None:
    def family(name: str) -> SimpleNamespace:
        path = ("user-db", "user", "front-end", "outside:users")
        reason = Reason(name, "", "a", "b", 1, 1.0, 0.0, "bytes", p_value=p_value, path=path)
        strength = {"I3": 3.0, "I4": 9.0}[name]
        return SimpleNamespace(
            note="", reasons=lambda _: [reason], surprise=lambda w: (np.full(len(w), strength), np.zeros((len(w), len(w.edges))))
        )  # fmt: skip

    made = Invariants()
    made._fitted = {"I3": family("I3"), "I4": family("I4")}
    made._combination = Combination({"I3": 1.0, "I4": 1.0})
    assert made.explain(Window(shop(Toy(20, seed=1)), 3))[0].family == first
