"""A closed population is continuous whatever the profile: nobody is stopped at a step, surplus leaves at a session's end."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from mimir.load import walk
from mimir.load.population import Population
from mimir.spec.app import AppSpec
from mimir.spec.load import BurstSpec, LoadSpec
from mimir.units import NS_PER_S
from tests.cluster.simulated_samples import CONF, option

APP = TypeAdapter(AppSpec).validate_python(option("app", "sockshop"))
NAMES = sorted(p.stem for p in (CONF / "load").glob("*.yaml") if p.stem != "replay")
LOADS = {name: TypeAdapter(LoadSpec).validate_python(option("load", name)) for name in NAMES}


def check_continuous(load: LoadSpec, seed: int, seconds: int) -> None:
    """Walk second by second; every seat is given up only at the end of a session, and only while there are too many."""
    endpoints = len(APP.services[APP.users.entry].endpoints)
    users = Population(APP, load, 0, np.full(endpoints, 0.02), np.random.SeedSequence(seed))
    before = users._users[:, walk.STEP] != walk.ABSENT
    assert int(before.sum()) == users.wanted(0.0)
    for second in range(1, seconds + 1):
        due = users._users[:, walk.TIME].copy()
        batch = users.until(second * NS_PER_S)
        wanted = users.wanted(second - 1.0)
        after = users._users[:, walk.STEP] != walk.ABSENT
        ended = np.zeros(len(after), dtype=bool)
        ended[batch.user[batch.last]] = True
        assert ended[before & ~after].all(), "somebody was stopped in the middle of a session"
        assert not (~before & after).any() or int(before.sum()) < wanted, "somebody came who is too many"
        assert int(after.sum()) >= min(int(before.sum()), wanted), "more left than were too many"
        assert int(after.sum()) >= wanted or not (~after).any(), "a user is missing"
        if wanted >= before.sum():
            assert (before <= after).all(), "somebody left who was wanted"
        asked = np.bincount(batch.user, minlength=len(after)) > 0
        kept = before & after & ~asked
        assert (users._users[kept, walk.TIME] == due[kept]).all(), "a step of the profile moved somebody's next request"
        before = after


@pytest.mark.parametrize("name", NAMES)
def test_every_profile_keeps_its_users(name: str) -> None:
    day_s = 600 if LOADS[name].days == 1 else 200
    check_continuous(replace(LOADS[name], arrivals="closed", users=60, day_s=day_s), 1, 700)


bursts = st.builds(
    BurstSpec, at=st.floats(0, 0.9), adds=st.floats(10, 300), rise=st.floats(0.005, 0.1), decay=st.floats(0.01, 0.1)
)


@settings(max_examples=40, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(
    profile=st.lists(st.floats(0, 300), min_size=1, max_size=12).filter(lambda p: max(p) > 0),
    interpolation=st.sampled_from(["linear", "step"]),
    bursts=st.lists(bursts, max_size=2),
    users=st.integers(1, 60),
    day_s=st.integers(60, 600),
    pace_sigma=st.floats(0, 0.5),
    seed=st.integers(0, 2**32),
)
def test_any_profile_keeps_its_users(
    profile: list[float],
    interpolation: Literal["linear", "step"],
    bursts: list[BurstSpec],
    users: int,
    day_s: int,
    pace_sigma: float,
    seed: int,
) -> None:
    load = replace(
        LOADS["normal"], profile=profile, interpolation=interpolation, bursts=bursts, users=users, day_s=day_s,
        pace_sigma=pace_sigma,
    )  # fmt: skip
    check_continuous(load, seed, 240)
