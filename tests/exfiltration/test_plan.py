"""The schedule: exact bytes, no overlap, a free beginning, and the same plan for the same seed."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mimir.errors import SpecError
from mimir.exfiltration.plan import LEAD_SHARE, digest, incident_bytes, plan_incidents, rate_problem, stolen_bytes
from tests.exfiltration.exfiltration_samples import scenario

START_S, NS = 1_760_000_000, 10**9


@settings(deadline=None)
@given(
    rate=st.floats(10, 1e6),
    message=st.integers(1, 70_000),
    duration=st.integers(10, 1200),
    count=st.integers(1, 6),
    spare=st.floats(0, 5000),
    pacing=st.sampled_from(["constant", "jitter"]),
    seed=st.integers(0, 2**32),
)
def test_any_plan_keeps_its_promises(
    rate: float, message: int, duration: int, count: int, spare: float, pacing: str, seed: int
) -> None:
    message = max(message, int(rate * duration / 60 / 5000))  # keeps the example small
    spec = scenario(
        "relay_chain",
        rate_bytes_per_min=rate,
        bytes_per_message=message,
        incident_duration_s=duration,
        incidents=count,
        pacing=pacing,
    )
    length_s = (count * (duration + spec.gap_s) - spec.gap_s + spec.tail_s) / (1 - LEAD_SHARE) + spare + 0.001
    plan = plan_incidents(spec, START_S, length_s, (seed, 2))
    assert len(plan) == count
    assert plan[0].start_s >= START_S + LEAD_SHARE * length_s - 0.002  # starts are whole milliseconds
    assert plan[-1].end_s <= START_S + length_s
    assert all(b.start_s - a.end_s >= spec.gap_s - 0.002 for a, b in pairwise(plan))
    for incident in plan:
        assert incident.bytes_intended == incident_bytes(spec) == round(rate * duration / 60)
        assert (incident.message_bytes[:-1] == message).all()
        assert 0 < incident.message_bytes[-1] <= message
        begin = round(incident.start_s * 1000) * 10**6
        assert (np.diff(incident.message_ns) >= 0).all()
        assert begin <= incident.message_ns[0] <= incident.message_ns[-1] < begin + duration * NS


def test_constant_pacing_has_equal_gaps_and_jitter_has_not() -> None:
    def gaps(pacing: str) -> np.ndarray:
        spec = scenario("direct", pacing=pacing, bytes_per_message=1000)
        return np.diff(plan_incidents(spec, START_S, 7200, (1,))[0].message_ns)

    assert np.ptp(gaps("constant")) <= 1
    assert gaps("constant")[0] == 1000 / 100_000 * 60 * NS
    assert gaps("jitter").std() > 0.3 * gaps("constant")[0]
    assert gaps("jitter").mean() == pytest.approx(gaps("constant").mean(), rel=0.01)


def test_seed_decides_and_nothing_else() -> None:
    spec = scenario("relay_chain")
    one, same, other = (plan_incidents(spec, START_S, 7200, entropy) for entropy in ((1, 2), (1, 2), (1, 3)))
    assert [i.start_s for i in one] == [i.start_s for i in same]
    assert all((a.message_ns == b.message_ns).all() for a, b in zip(one, same, strict=True))
    assert [i.start_s for i in one] != [i.start_s for i in other]
    moved = plan_incidents(spec, START_S + 86_400.5, 7200, (1, 2))
    assert all((b.message_ns - a.message_ns == 864_005 * NS // 10).all() for a, b in zip(one, moved, strict=True))


def test_starts_spread_over_the_recording() -> None:
    spec = scenario("relay_chain", incidents=1)
    starts = [plan_incidents(spec, 0, 7200, (seed,))[0].start_s for seed in range(200)]
    free = (720, 7200 - spec.gap_s - 600)
    assert min(starts) < free[0] + 0.05 * (free[1] - free[0])
    assert max(starts) > free[1] - 0.05 * (free[1] - free[0])
    assert np.mean(starts) == pytest.approx(sum(free) / 2, rel=0.1)


def test_stolen_bytes_are_a_function_of_the_incident() -> None:
    first, second, _ = plan_incidents(scenario("relay_chain", bytes_per_message=70_001), START_S, 7200, (7, 2))
    chunks = list(stolen_bytes(first))
    assert [len(chunk) for chunk in chunks] == first.message_bytes.tolist()
    assert digest(stolen_bytes(first)) == digest(chunks) == digest([b"".join(chunks)])
    assert digest(stolen_bytes(second)) != digest(stolen_bytes(first))
    assert np.bincount(np.frombuffer(b"".join(chunks), dtype=np.uint8), minlength=256).min() > 3000


def test_no_channel_no_incidents() -> None:
    assert plan_incidents(scenario("none"), START_S, 60, (1,)) == []


def test_incidents_that_do_not_fit_are_refused_with_the_length_that_would_do() -> None:
    spec = scenario("relay_chain")
    with pytest.raises(SpecError, match=r"exfiltration.incidents do not fit: 3 × 600 s, .* need 2800 s, .* has 2799 s"):
        plan_incidents(spec, START_S, 2799, (1,))
    assert len(plan_incidents(spec, START_S, 2800, (1,))) == 3
    with pytest.raises(SpecError, match="at most 2 incidents"):
        plan_incidents(spec, START_S, 2100, (1,))


@pytest.mark.parametrize("field", ["rate_bytes_per_min", "bytes_per_message", "incidents", "incident_duration_s"])
def test_numbers_must_be_positive(field: str) -> None:
    with pytest.raises(SpecError, match=rf"exfiltration.{field} must be > 0 \(got -5\).*direct.yaml"):
        plan_incidents(replace(scenario("direct"), **{field: -5}), START_S, 7200, (1,))


def test_a_rate_below_one_byte_an_incident_is_refused() -> None:
    with pytest.raises(SpecError, match="less than one byte per incident"):
        plan_incidents(scenario("direct", rate_bytes_per_min=0.01), START_S, 7200, (1,))


def test_each_rate_of_a_list_is_used_in_an_order_drawn_from_the_seed() -> None:
    spec = scenario(
        "relay_chain", rates_bytes_per_min=[1e4, 1e5, 1e6], incidents=6, incident_duration_s=60, gap_s=0.0, tail_s=0.0
    )
    plans = [plan_incidents(spec, 0, 3600, (seed,)) for seed in range(8)]
    orders = [[incident.bytes_intended for incident in plan] for plan in plans]
    assert all(sorted(order) == [10_000] * 2 + [100_000] * 2 + [1_000_000] * 2 for order in orders)
    assert len({tuple(order) for order in orders}) > 1
    assert orders[0] == [incident.bytes_intended for incident in plan_incidents(spec, 0, 3600, (0,))]


@pytest.mark.parametrize("rates", [[], [1e5, 0], [float("nan")], [float("inf")]])
def test_rates_that_carry_nothing_are_refused(rates: list[float]) -> None:
    problem = rate_problem(scenario("relay_chain", rates_bytes_per_min=rates))
    assert problem is not None
    assert problem.where == "exfiltration.rates_bytes_per_min"


def test_a_list_of_rates_excludes_rates_relative_to_benign_traffic() -> None:
    problem = rate_problem(scenario("relay_chain", rates_bytes_per_min=[1e5], rate_share_of_edge=0.01))
    assert problem is not None
    assert "relative" in str(problem)
