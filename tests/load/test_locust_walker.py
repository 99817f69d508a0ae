"""The walk that Locust's users do is the walk the simulator does: the same sessions, waits, endpoints and settled start."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
from scipy import stats

from mimir.errors import SpecError
from mimir.load.locust.crowd import Crowd
from mimir.load.locust.plan import locust_plan
from mimir.load.locust.walker import Pace, Step, Walker, occupied
from mimir.load.locust.wire import framed
from mimir.load.population import Population
from mimir.spec import Spec
from mimir.units import NS_PER_S
from tests.support.specs import spec

APPLICATIONS = ("sockshop", "wordpress", "hipsterstore", "robotshop", "trainticket", "bookinfo")
SESSIONS, LEVEL = 1500, 1e-4  # of significance: seeds are fixed, so this is decided once


@cache
def steady(app: str) -> Spec:
    return spec([f"app={app}", "load=steady", "load.users=50"])


def plan_of(app: str, **changes: Any) -> dict[str, Any]:
    chosen = steady(app)
    return locust_plan(replace(chosen, load=replace(chosen.load, **changes)), "test", 7, 600)


def walked(plan: dict[str, Any], count: int = SESSIONS) -> list[list[Step]]:
    return [list(Walker(plan, number).session()) for number in range(count)]


def simulated(app: str, count: int = SESSIONS) -> list[list[tuple[int, float]]]:
    """(endpoint, gap to the request before or to the beginning, s) of whole sessions of the simulator."""
    chosen = steady(app)
    chosen = replace(chosen, load=replace(chosen.load, pace_sigma=0.0))
    entry = chosen.app.services[chosen.app.users.entry]
    users = Population(
        replace(chosen.app, users=replace(chosen.app.users, pause_s=(1.0, 1.0))),
        chosen.load, 0, np.zeros(len(entry.endpoints)), np.random.SeedSequence(3),
    )  # fmt: skip
    sessions: list[list[tuple[int, float]]] = []
    running: dict[int, list[tuple[int, float]] | None] = {}
    last: dict[int, float] = {}
    second = 0
    while len(sessions) < count:
        second += 600
        batch = users.until(second * NS_PER_S)
        for ts, user, endpoint, ends in zip(
            batch.ts_ns / NS_PER_S, batch.user, batch.endpoint, batch.last, strict=True
        ):
            known = running.get(user)  # None: the session the user was in when the recording began
            if known is not None:
                known.append((int(endpoint), ts - last[user]))
            last[user] = ts
            if ends:
                if known:
                    sessions.append(known)
                running[user], last[user] = [], ts + 1.0
    return sessions[:count]


@pytest.mark.parametrize("app", APPLICATIONS)
def test_sessions_are_those_of_the_simulator(app: str) -> None:
    plan, other = plan_of(app), simulated(app)
    mine = walked(plan)
    count = len(plan["endpoints"])
    table = np.array([
        np.bincount([step.endpoint for session in mine for step in session], minlength=count),
        np.bincount([endpoint for session in other for endpoint, _ in session], minlength=count),
    ])  # fmt: skip
    table = table[:, table.sum(axis=0) >= 20]
    share = table / table.sum(axis=1, keepdims=True)
    assert np.abs(share[0] - share[1]).max() < 0.03
    assert stats.ks_2samp([len(s) for s in mine], [len(s) for s in other]).pvalue > LEVEL
    waits = [step.wait_s for session in mine for step in session]
    gaps = [gap for session in other for _, gap in session]
    assert stats.ks_2samp(np.round(waits, 6), np.round(gaps, 6)).statistic < 0.03
    assert sum(waits) / len(mine) == pytest.approx(sum(gaps) / len(other), rel=0.1)


def test_the_mix_is_the_one_asked_for() -> None:
    plan = plan_of("sockshop", mix={"browse": 0.2, "buy": 0.7, "register": 0.1})
    begun = Counter(session[0].behaviour for session in walked(plan))
    observed = [begun[plan["behaviours"].index(name)] for name in ("browse", "buy", "register")]
    assert stats.chisquare(observed, np.array([0.2, 0.7, 0.1]) * SESSIONS).pvalue > LEVEL


def test_users_of_the_first_moment_are_in_the_middle_of_what_they_do() -> None:
    plan = plan_of("sockshop")
    first = [next(Walker(plan, n).session(settled=True)) for n in range(SESSIONS)]
    weights = np.diff([0.0, *occupied(plan)])
    begun = Counter(step.behaviour for step in first)
    used = np.flatnonzero(weights)  # the mix leaves some behaviours out
    assert set(begun) == set(used.tolist())
    assert stats.chisquare([begun[b] for b in used], weights[used] / weights.sum() * SESSIONS).pvalue > LEVEL
    assert np.mean([step.ends for step in first]) < 0.2
    assert {step.endpoint for step in first} >= set(range(3))


def test_paths_are_filled_from_the_session() -> None:
    plan = plan_of("robotshop")
    walker, cart = Walker(plan, 1), next(n for n, e in enumerate(plan["endpoints"]) if e["name"] == "cart_add")
    known = walker.values()
    paths = {walker.path(cart, known) for _ in range(60)}
    assert len({path.split("/")[-3] for path in paths}) == 1  # the cart's identifier stays
    assert {path.split("/")[-2] for path in paths} <= set(plan["session"]["sku"]["values"])
    assert len(paths) > 3
    assert Walker(plan, 2).values() != known
    assert not any("{" in walker.path(n, known) for n in range(len(plan["endpoints"])))


def test_a_handshake_is_no_request_of_its_own() -> None:
    endpoints = {e["name"]: e for e in plan_of("wordpress")["endpoints"]}
    assert endpoints["tls"]["method"] == ""
    assert endpoints["tls"]["real"] is None
    home = {name: value for name, value in endpoints["home"].items() if name not in ("bytes", "real")}
    assert home == {"name": "home", "method": "GET", "path": "/", "call": None}


def test_the_profile_is_that_of_the_simulator() -> None:
    chosen = spec(["load=bursty", "load.users=80"])
    plan = locust_plan(chosen, "test", 1)
    users = Population(chosen.app, chosen.load.of("test"), 0, np.zeros(13), np.random.SeedSequence(1))
    assert plan["wanted"] == [users.wanted(float(t)) for t in range(chosen.recording_s("test"))]


def test_open_arrivals_have_the_asked_rate(tmp_path: Any) -> None:
    plan = plan_of("sockshop", arrivals="open", sessions_per_min=120.0)
    crowd = Crowd(plan, tmp_path, 0.01)
    at_first = crowd.arrivals()
    crowd.arriving = crowd.begun = 1
    assert crowd.close() == "no request was made"
    later = np.array([crowd.arrivals() for _ in range(6000)])
    assert abs(at_first - plan["sessions_at_first"]) < 6 * plan["sessions_at_first"] ** 0.5
    assert later.mean() == pytest.approx(2.0, abs=0.1)
    assert later.var() == pytest.approx(2.0, abs=0.2)


def test_the_pace_drifts_as_asked() -> None:
    plan = plan_of("sockshop", pace_sigma=0.2, pace_memory=0.7)
    pace = Pace(plan)
    logs = np.log([pace.at(60.0 * k) for k in range(5000)])
    assert logs.std() == pytest.approx(0.2, abs=0.02)
    assert np.corrcoef(logs[:-1], logs[1:])[0, 1] == pytest.approx(0.7, abs=0.05)
    assert pace.at(61.0) == pace.at(119.0) != pace.at(120.0)


def test_requests_of_generic_services_have_the_size_of_the_model() -> None:
    for method in ("GET", "POST", "DELETE"):
        headers, body = framed({"method": method, "call": 12}, "/cart", "http://10.0.0.1:80", 700, close=True)
        head = f"{method} /cart HTTP/1.1\r\nHost: 10.0.0.1:80\r\n"
        head += "".join(f"{name}: {value}\r\n" for name, value in headers.items()) + "\r\n"
        assert len(head) + len(body) == 700
        assert headers["X-Mimir-Call"].startswith("12 0")


def test_an_entry_that_speaks_no_http_is_refused() -> None:
    chosen = steady("sockshop")
    services = dict(chosen.app.services)
    services["front-end"] = replace(services["front-end"], protocol="grpc")
    with pytest.raises(SpecError, match="speaks grpc"):
        locust_plan(replace(chosen, app=replace(chosen.app, services=services)), "test", 1)
