"""Open arrivals are Poisson, follow the profile, are in the steady state from the start, and are a function of the seed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from pydantic import TypeAdapter
from scipy import stats

from mimir.load.population import users_of
from mimir.load.requests import Requests
from mimir.load.sessions import Sessions
from mimir.spec.app import AppSpec
from mimir.spec.load import LoadSpec
from mimir.units import NS_PER_S
from tests.cluster.simulated_samples import option

START_NS = 1_767_225_600 * NS_PER_S
APP = TypeAdapter(AppSpec).validate_python(option("app", "sockshop"))
NAMES = list(APP.services["front-end"].endpoints)
NORMAL = TypeAdapter(LoadSpec).validate_python(option("load", "normal"))


def sessions(seed: int = 1, **changes: Any) -> Sessions:
    load = replace(NORMAL, arrivals="open", **changes)
    users = users_of(APP, load, START_NS, np.full(len(NAMES), 0.02), np.random.SeedSequence(seed))
    assert isinstance(users, Sessions)
    return users


def until(users: Sessions, seconds: int) -> Requests:
    return users.until(START_NS + seconds * NS_PER_S)


def begun(requests: Requests) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Each session of these behaviours begins with one request of the index page."""
    return requests.ts_ns[requests.endpoint == NAMES.index("index")]


def test_arrivals_are_poisson() -> None:
    requests = until(sessions(profile=[100.0], sessions_per_min=120.0), 7200)
    times_s = (begun(requests) - START_NS) / NS_PER_S
    counts = np.histogram(times_s, bins=np.arange(0, 7201, 10))[0]
    assert abs(len(times_s) - 14_400) < 5 * 120
    dispersion = (len(counts) - 1) * counts.var(ddof=1) / counts.mean()  # chi-squared under Poisson (Fisher 1950)
    assert 1e-4 < stats.chi2.sf(dispersion, len(counts) - 1) < 1 - 1e-4
    assert stats.kstest(np.diff(np.sort(times_s)), "expon", args=(0, 0.5)).pvalue > 1e-4


def test_arrivals_follow_the_profile() -> None:
    users = sessions(sessions_per_min=600.0, day_s=3600)
    counts = np.array([len(begun(until(users, 150 * (k + 1)))) for k in range(24)])
    expected = np.array([np.mean([users.rate_per_min(150 * k + s) for s in range(150)]) * 2.5 for k in range(24)])
    assert np.all(np.abs(counts - expected) < 5 * np.sqrt(expected))


def test_as_many_are_there_as_users_says() -> None:
    users, present = sessions(users=300, profile=[100.0], pace_sigma=0.0), []
    for k in range(120):
        until(users, 60 * (k + 1))
        present.append(users.present)
    assert abs(np.mean(present[:3]) - 300) < 5 * np.sqrt(300)  # no ramp at the beginning
    assert abs(np.mean(present) - 300) < 0.05 * 300
    assert max(present) < users.slots


def test_slices_do_not_change_what_sessions_do() -> None:
    at_once, users = until(sessions(users=50), 600), sessions(users=50)
    cut = [until(users, 45 * (k + 1)) for k in range(13)] + [until(users, 600)]
    for column in ("ts_ns", "user", "endpoint", "last"):
        assert np.array_equal(getattr(at_once, column), np.concatenate([getattr(r, column) for r in cut])), column
    assert at_once.ts_ns.min() >= START_NS
    assert np.all(np.diff(at_once.ts_ns) >= 0)


def test_same_seed_same_requests_other_seed_others() -> None:
    first, again, other = (until(sessions(seed=s, users=50), 600) for s in (3, 3, 4))
    assert np.array_equal(first.ts_ns, again.ts_ns)
    assert not np.array_equal(first.ts_ns[:100], other.ts_ns[:100])


def test_an_address_serves_one_session_at_a_time() -> None:
    requests = until(sessions(users=40, mix="buy_only"), 1800)
    assert requests.user.max() < sessions(users=40).slots
    index, order = NAMES.index("index"), NAMES.index("order")
    for slot in np.unique(requests.user):
        asked = requests.endpoint[(requests.user == slot) & np.isin(requests.endpoint, [index, order])]
        assert np.all(asked[1:] != asked[:-1])  # begin, order, begin, order …


def test_marks_say_who_was_there() -> None:
    users = sessions(users=200, day_s=2400)
    until(users, 2400)
    assert [offset for offset, _ in users.marks] == [100.0 * k for k in range(24)]
    there = np.array([mark["users"] for _, mark in users.marks])
    assert stats.pearsonr(there, NORMAL.profile).statistic > 0.8
    assert users.marks[18][1]["sessions_per_min"] == round(users.rate_per_min(1800), 3)
