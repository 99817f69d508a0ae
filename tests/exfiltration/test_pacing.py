"""Shapes of a leak over time."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mimir.errors import MimirError, SpecError
from mimir.exfiltration.baseline import Baseline, estimate, fitted
from mimir.exfiltration.plan import Incident, World, incident_bytes, plan_incidents
from mimir.exfiltration.validate import problems
from tests.exfiltration.exfiltration_samples import EDGES, SERVICES, scenario

NS, DAY_S = 10**9, 3600


def users(offset_s: np.ndarray) -> np.ndarray:
    return np.asarray(60 - 40 * np.cos(2 * np.pi * offset_s / DAY_S))


def plan(pacing: str, seed: int = 1, **changes: Any) -> list[Incident]:
    return plan_incidents(scenario("relay_chain", pacing=pacing, **changes), 0, 7200, (seed, 2), World(EDGES, users))


def offsets_s(incident: Incident) -> np.ndarray:
    return incident.message_ns / NS - incident.start_s


@settings(deadline=None, max_examples=60)
@given(
    pacing=st.sampled_from(["constant", "jitter", "burst", "ramp", "on_off", "night", "mimicry"]),
    seed=st.integers(0, 2**32),
    rate=st.floats(10, 200_000),
    gap_s=st.floats(0, 400),
    on_share=st.floats(0.01, 1),
    period_s=st.floats(100, 2000),
)
def test_totals_bounds_and_order_hold_for_any_pacing(
    pacing: str, seed: int, rate: float, gap_s: float, on_share: float, period_s: float
) -> None:
    shape = replace(scenario("direct").shape, on_share=on_share, period_s=period_s)
    spec = scenario("relay_chain", pacing=pacing, rate_bytes_per_min=rate, gap_s=gap_s, shape=shape)
    incidents = plan_incidents(spec, 0, 7200, (seed, 2), World(EDGES, users))
    for incident in incidents:
        assert incident.bytes_intended == incident_bytes(spec)
        assert (np.diff(incident.message_ns) >= 0).all()
        assert round(incident.start_s * NS) <= incident.message_ns[0]
        assert incident.message_ns[-1] < round(incident.end_s * NS)
    for one, following in pairwise(incidents):
        assert following.start_s - one.end_s >= gap_s - 0.002


@given(seed=st.integers(0, 2**32))
@settings(deadline=None, max_examples=20)
def test_night_sends_nothing_by_day(seed: int) -> None:
    for incident in plan("night", seed):
        assert users(incident.message_ns / NS).max() <= 0.5 * 100 + 1e-6


def test_night_without_low_hours_is_refused() -> None:
    spec = scenario("relay_chain", pacing="night")
    with pytest.raises(SpecError, match="finds no place"):
        plan_incidents(spec, 0, 7200, (1, 2), World(EDGES, lambda at: np.full_like(at, 50.0)))


def test_ramp_sends_a_quarter_in_its_first_half() -> None:
    assert (offsets_s(plan("ramp")[0]) < 300).mean() == pytest.approx(0.25, abs=0.02)


def test_on_off_is_silent_in_the_rest_of_its_cycle() -> None:
    assert (offsets_s(plan("on_off")[0]) % 120).max() < 31


def test_bursts_come_at_drawn_moments_and_leave_silence() -> None:
    at = offsets_s(plan("burst")[0])
    first = [at[at // 120 == cycle].min() % 120 for cycle in range(5)]
    assert np.std(first) > 5
    assert all(np.ptp(at[at // 120 == cycle]) <= 31 for cycle in range(5))


def test_mimicry_follows_the_users() -> None:
    (incident,) = plan("mimicry", incidents=1, incident_duration_s=3600)
    counts, edges = np.histogram(incident.message_ns / NS, bins=12, range=(incident.start_s, incident.end_s))
    assert np.corrcoef(counts, users((edges[:-1] + edges[1:]) / 2))[0, 1] > 0.99


def test_four_kilobytes_a_day() -> None:
    spec = scenario(
        "relay_chain", rate_bytes_per_min=4000 / 1440, incidents=1, incident_duration_s=86_400, bytes_per_message=64
    )
    (incident,) = plan_incidents(spec, 0, 200_000, (1, 2))
    assert incident.bytes_intended == 4000
    assert len(incident.message_ns) == 63


@given(sigma=st.floats(30, 1e6), sigmas=st.floats(0.5, 5), seed=st.integers(0, 1000))
@settings(deadline=None, max_examples=40)
def test_adaptive_stays_below_its_limit_in_every_window(sigma: float, sigmas: float, seed: int) -> None:
    spec = scenario("relay_chain", pacing="adaptive", shape=replace(scenario("direct").shape, sigmas=sigmas))
    world = World(EDGES, users, Baseline("user → user-db", 60, 1e6, sigma))
    for incident in plan_incidents(spec, 0, 7200, (seed, 2), world):
        at, total = incident.message_ns, np.cumsum(incident.message_bytes)
        last = np.searchsorted(at, at + 60 * NS) - 1
        assert (total[last] - total + incident.message_bytes).max() <= sigmas * sigma


def test_relative_rate_is_a_share_of_the_edge() -> None:
    spec = scenario("relay_chain", rate_share_of_edge=0.01)
    assert fitted(spec, Baseline("a → b", 60, 500_000, 10)).rate_bytes_per_min == 5000
    with pytest.raises(MimirError, match="before the fit recording"):
        plan_incidents(spec, 0, 7200, (1, 2))


def test_baseline_finds_scale_beside_what_exchanges_explain() -> None:
    random = np.random.default_rng(1)
    exchanges = random.integers(100, 1000, 2000).astype(float)
    found = estimate("a → b", 60, 5000 + 900 * exchanges + random.normal(0, 700, 2000), exchanges)
    assert found.residual_sigma_bytes == pytest.approx(700, rel=0.06)
    with pytest.raises(MimirError, match="no traffic on a → b"):
        estimate("a → b", 60, np.zeros(3), np.zeros(3))


@pytest.mark.parametrize(
    ("changes", "where"),
    [
        ({"gap_s": -1.0}, "exfiltration.gap_s"),
        ({"tail_s": float("nan")}, "exfiltration.tail_s"),
        ({"rate_share_of_edge": 0.0}, "exfiltration.rate_share_of_edge"),
        ({"pacing": "burst", "shape": {"on_share": 0.0}}, "exfiltration.shape.on_share"),
        ({"pacing": "on_off", "shape": {"period_s": 2.0}}, "exfiltration.shape.period_s"),
        ({"pacing": "night", "shape": {"night_users_share": 1.0}}, "exfiltration.shape.night_users_share"),
        ({"pacing": "adaptive", "shape": {"sigmas": -1.0}}, "exfiltration.shape.sigmas"),
    ],
)
def test_each_wrong_value_is_named(changes: dict[str, Any], where: str) -> None:
    shape = replace(scenario("relay_chain").shape, **changes.pop("shape", {}))
    found = problems(scenario("relay_chain", **changes, shape=shape), SERVICES, EDGES, 7200)
    assert [problem.where for problem in found] == [where]


def test_a_relative_leak_needs_an_edge_with_traffic() -> None:
    found = problems(scenario("direct", rate_share_of_edge=0.01), SERVICES, EDGES, 7200)
    assert [problem.where for problem in found] == ["exfiltration.rate_share_of_edge"]


def test_night_needs_a_load_with_low_hours() -> None:
    spec = scenario("relay_chain", pacing="night")
    assert problems(spec, SERVICES, EDGES, 7200, users) == []
    (found,) = problems(spec, SERVICES, EDGES, 7200, lambda at: np.full_like(at, 50.0))
    assert found.where == "exfiltration.pacing"
    assert "never has fewer than 50 users" in str(found)
