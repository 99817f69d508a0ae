"""The population follows the profile, never stops at once, mixes behaviours as asked, and is a function of its seed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from pydantic import TypeAdapter

from mimir.load.population import Population
from mimir.load.requests import Requests
from mimir.spec.app import AppSpec
from mimir.spec.load import LoadSpec
from mimir.units import NS_PER_S
from tests.cluster.simulated_samples import option

START_NS = 1_767_225_600 * NS_PER_S
APP = TypeAdapter(AppSpec).validate_python(option("app", "sockshop"))
NAMES = list(APP.services["front-end"].endpoints)
NORMAL = TypeAdapter(LoadSpec).validate_python(option("load", "normal"))


def population(seed: int = 1, **changes: Any) -> Population:
    load = replace(NORMAL, **changes)
    return Population(APP, load, START_NS, np.full(len(NAMES), 0.02), np.random.SeedSequence(seed))


def until(users: Population, seconds: int) -> Requests:
    return users.until(START_NS + seconds * NS_PER_S)


def test_the_number_of_users_follows_the_profile_one_by_one() -> None:
    users, before = population(users=200, day_s=3600), 0
    for minute in range(1, 121):
        requests = until(users, 60 * minute)
        wanted = float(users._curve.at(60 * minute))
        assert abs(users.present - wanted) <= 6, minute
        if minute > 1:
            assert abs(users.present - before) <= 8  # nobody is ever stopped together with all others
        assert len(requests.ts_ns) > 0
        before = users.present
    assert users.present <= users.slots


def test_load_is_proportional_to_the_profile() -> None:
    users = population(users=400, day_s=7200, pace_sigma=0.0)
    counts = np.array([len(until(users, 300 * (k + 1)).ts_ns) for k in range(24)])
    middle = users._curve.at(300 * np.arange(24) + 150)
    ratio = counts / middle
    assert ratio.std() / ratio.mean() < 0.04


def test_there_is_no_start_up_ramp() -> None:
    users = population(users=500, profile=[100.0] * 24, pace_sigma=0.0)
    counts = [len(until(users, 10 * (k + 1)).ts_ns) for k in range(60)]
    assert 0.8 < np.mean(counts[:3]) / np.mean(counts[20:]) < 1.2


def test_requests_are_in_order_of_time_and_in_their_slice() -> None:
    users = population(users=50)
    for k in range(10):
        requests = until(users, 30 * (k + 1))
        assert np.all(np.diff(requests.ts_ns) >= 0)
        assert requests.ts_ns.min() >= START_NS + 30 * k * NS_PER_S
        assert requests.ts_ns.max() < START_NS + 30 * (k + 1) * NS_PER_S


def test_slices_do_not_change_what_users_do() -> None:
    whole, pieces = population(users=50), population(users=50)
    at_once = until(whole, 600)
    cut = [until(pieces, 60 * (k + 1)) for k in range(10)]
    assert np.array_equal(at_once.ts_ns, np.concatenate([r.ts_ns for r in cut]))
    assert np.array_equal(at_once.endpoint, np.concatenate([r.endpoint for r in cut]))


def test_same_seed_same_requests_other_seed_others() -> None:
    first, again, other = (until(population(seed=s, users=50), 600) for s in (3, 3, 4))
    assert np.array_equal(first.ts_ns, again.ts_ns)
    assert np.array_equal(first.user, again.user)
    assert not np.array_equal(first.ts_ns[:100], other.ts_ns[:100])


@pytest.mark.parametrize(
    "mix", [{"browse": 0.5, "buy": 0.3, "register": 0.2}, {"browse": 0.0, "buy": 1.0, "register": 0.0}]
)
def test_behaviours_are_begun_in_the_shares_of_the_mix(mix: dict[str, float]) -> None:
    requests = until(population(users=300, profile=[100.0] * 24, mix=mix), 7200)
    count = np.bincount(requests.endpoint, minlength=len(NAMES))
    begun = count[NAMES.index("index")]
    for behaviour, endpoint in (("buy", "order"), ("register", "card_add")):
        share = count[NAMES.index(endpoint)] / begun
        assert share == pytest.approx(mix[behaviour], abs=0.03)
    assert int(requests.last.sum()) == pytest.approx(begun, rel=0.1)


def test_waits_between_page_views_are_two_to_four_seconds() -> None:
    requests = until(population(users=20, pace_sigma=0.0, mix={"browse": 1.0}), 1200)
    page = np.isin(requests.endpoint, [NAMES.index("category"), NAMES.index("detail")])
    gaps = []
    for user in range(20):
        mine = requests.user == user
        times, pages = requests.ts_ns[mine], page[mine]
        gaps.append(np.diff(times)[pages[1:] & pages[:-1]])
    seconds = np.concatenate(gaps) / NS_PER_S
    assert seconds.min() >= 2.0
    assert seconds.max() <= 4.03
    assert seconds.mean() == pytest.approx(3.02, abs=0.05)


def test_the_pace_drifts_from_minute_to_minute() -> None:
    def spread(sigma: float) -> float:
        users = population(users=400, profile=[100.0] * 24, pace_sigma=sigma)
        counts = np.array([len(until(users, 60 * (k + 1)).ts_ns) for k in range(60)])
        return float(counts.std() / counts.mean())

    assert spread(0.2) > 3 * spread(0.0)


def test_an_empty_hour_is_possible() -> None:
    users = population(users=10, day_s=2400, profile=[100.0, 0.0, 0.0, 0.0] + [0.0] * 20)
    until(users, 300)
    assert len(until(users, 2200).ts_ns) == 0
    assert users.present == 0
    assert len(until(users, 2400).ts_ns) > 0
