"""The families of `invariants`, one by one and together, on the toy shop."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from mimir.detectors.calibration import Calibration
from mimir.detectors.invariants import Invariants
from mimir.detectors.invariants.chains import correlation, held, window_sums
from mimir.errors import MimirError
from mimir.flows.edges import EdgeKey, EdgeSeries
from tests.support.toyshop import CHAIN, FE, RESOLVER, Leak, Toy, benign, key, select, shop, to_series

LEAK = range(60, 80)
TUNNEL = ("user-db", "kube-dns", RESOLVER)
EVIL = ("user-db", "user", "front-end", "outside:evil")


@cache
def series(seed: int, *leaks: Leak, **changes: object) -> EdgeSeries:
    return shop(Toy(180, seed=seed, **changes), *leaks)


@cache
def detector(*families: str) -> tuple[Invariants, float]:
    """Fitted and calibrated on separate recordings: (detector, threshold for one alert a day)."""
    made = Invariants(families=families).fit(series(1))
    return made, Calibration(made.score(series(2)).score, 60).threshold(1).value


def leak(rate: float, path: tuple[str, ...] = CHAIN, **changes: object) -> Leak:
    return Leak(LEAK.start, LEAK.stop, rate, path, **changes)


def share_of_alerts(families: tuple[str, ...], *leaks: Leak) -> float:
    made, threshold = detector(*families)
    return float((made.score(series(3, *leaks)).score[LEAK.start : LEAK.stop] > threshold).mean())


@pytest.mark.parametrize("families", [(), ("I7",)])
def test_families_must_exist(families: tuple[str, ...]) -> None:
    with pytest.raises(MimirError, match="families"):
        Invariants(families=families).fit(series(1))


@pytest.mark.parametrize("wrong", [{"lags": -1}, {"ridge": 0.0}, {"memory": [0]}])
def test_parameters_must_be_possible(wrong: dict[str, object]) -> None:
    with pytest.raises(MimirError, match="lags"):
        Invariants(**wrong).fit(series(1))


def test_too_short_a_recording_is_refused() -> None:
    with pytest.raises(MimirError, match=r"evaluation\.fit_s"):
        Invariants().fit(select(series(1), series(1).edges, 5))


# I1
def test_i1_sees_new_edges_and_nothing_else() -> None:
    made, _ = detector("I1")
    assert not made.score(series(3)).score.any()
    assert not made.score(series(3, leak(1e7))).score.any()
    scores = made.score(series(3, leak(1e5, ("user-db", "outside:sink")))).score
    assert (scores > 0).tolist() == [i in LEAK for i in range(180)]


def test_i1_gives_the_chain_that_leads_to_the_new_edge() -> None:
    made, _ = detector("I1")
    reason = made.explain(series(3, leak(1e5, EVIL)).at(70))[0]
    assert reason.path[-2:] == ("front-end", "outside:evil")
    assert reason.path[0] in {"user-db", "orders-db"}
    assert "never seen in training" in reason.text


# I2
def test_i2_sees_traffic_past_the_service_address() -> None:
    made, _ = detector("I2")
    assert made.notes == ()
    assert not made.score(series(3)).score.any()
    windows = series(3, leak(1e5, mediated=False))
    scores = made.score(windows).score
    assert (scores > 0).tolist() == [i in LEAK for i in range(180)]
    reason = made.explain(windows.at(70))[0]
    assert "past the service address" in reason.text
    assert reason.pods


def test_i2_switches_itself_off_and_says_so() -> None:
    hidden = Invariants(families=["I2"]).fit(series(1, show_service_addresses=False))
    assert "I2 is off" in hidden.notes[0]
    assert not hidden.score(series(3, leak(1e7, mediated=False))).score.any()


# I3
def test_i3_finds_100_kb_a_minute_on_the_allowed_chain() -> None:
    made, threshold = detector("I3")
    assert (made.score(series(3)).score > threshold).mean() < 0.02
    assert share_of_alerts(("I3",), leak(1e5)) > 0.5
    assert share_of_alerts(("I3",), leak(1e6)) == 1.0


def test_i3_rises_with_the_leak() -> None:
    made, _ = detector("I3")
    means = [
        made.score(series(3, *([leak(rate)] if rate else []))).score[LEAK.start : LEAK.stop].mean()
        for rate in (0, 1e5, 3e5, 1e6)
    ]
    assert means == sorted(means)
    assert len(set(means)) == 4


def test_requests_of_the_leak_do_not_explain_it_away() -> None:
    assert share_of_alerts(("I3",), leak(1e5, message_bytes=900)) > 0.8


def test_i3_finds_a_tunnel_of_3_kb_a_minute() -> None:
    assert share_of_alerts(("I3",), leak(3e3, TUNNEL, dns=True)) == 1.0
    reason = detector("I3")[0].explain(series(3, leak(3e3, TUNNEL, dns=True)).at(70))[0]
    assert reason.path == TUNNEL
    assert reason.technique == "T1048.003"
    assert "names" in reason.text or "DNS queries" in reason.text


def test_i3_names_chain_pods_and_size() -> None:
    made, _ = detector("I3")
    windows = series(3, leak(3e5))
    covered, named = [], []
    for index in LEAK[6:]:
        reason = made.explain(windows.at(index))[0]
        named.append(reason.path == CHAIN and "user-db-0" in reason.pods)
        covered.append(reason.bytes_low <= 3e5 <= reason.bytes_high)
        assert reason.bytes_low <= reason.bytes_estimate <= reason.bytes_high
    assert np.mean(named) > 0.9
    assert np.mean(covered) > 0.7


def test_i3_says_what_requests_explain() -> None:
    made, _ = detector("I3")
    reason = made.explain(series(3, leak(1e6)).at(62))[0]
    assert "explain" in reason.text
    assert "±" in reason.text
    assert f"{reason.client} → {reason.server}:{reason.server_port}" in reason.text
    assert reason.observed > reason.expected


def test_a_leak_that_ended_is_over() -> None:
    made, threshold = detector("I3")
    alerts = made.score(series(3, leak(1e6))).score > threshold
    assert alerts[LEAK.stop : LEAK.stop + 15].sum() <= 5


def test_load_beyond_training_is_no_leak() -> None:
    made, threshold = detector("I3")
    scores = made.score(series(5, requests_per_s=40.0)).score
    assert (scores > threshold).mean() < 0.03


def test_one_legitimate_burst_in_training_does_not_blind() -> None:
    burst = Leak(30, 31, 3e6)
    made = Invariants(families=["I3"]).fit(series(1, burst))
    threshold = Calibration(made.score(series(2)).score, 60).threshold(1).value
    assert (made.score(series(3, leak(3e5))).score[LEAK.start + 3 : LEAK.stop] > threshold).all()


def test_without_a_known_store_edges_are_still_judged() -> None:
    made = Invariants(families=["I3"]).fit(series(1, sensitive=frozenset()))
    threshold = Calibration(made.score(series(2)).score, 60).threshold(1).value
    assert (made.score(series(3, leak(1e6))).score[LEAK.start + 3 : LEAK.stop] > threshold).mean() > 0.9


def test_unnamed_visitors_share_one_column() -> None:
    def public(seed: int, address: str) -> EdgeSeries:
        toy = Toy(180, seed=seed)
        rows = benign(toy)
        rows[EdgeKey(f"outside:{address}", FE, 8079, "tcp")] = rows.pop(key("outside:users", FE))
        return to_series(rows, toy, series(1).workloads, None)

    families = ("I1", "I2", "I3", "I4")  # the others look at pods, which the public series does not show
    made = Invariants(families=families).fit(public(1, "198.51.100.1"))
    named = Invariants(families=families).fit(series(1))
    assert made.score(public(3, "198.51.100.9")).score == pytest.approx(named.score(series(3)).score, abs=1e-6)


# all together
def test_a_new_exit_is_explained_by_its_family_first() -> None:
    made, threshold = detector("I1", "I2", "I3")
    windows = series(3, leak(1e5, EVIL))
    assert (made.score(windows).score[LEAK.start : LEAK.stop] > threshold).all()
    first = made.explain(windows.at(70))[0]
    assert first.family == "I1"
    assert first.path == EVIL, "I3 knows from which store the bytes came"


def test_contributions_point_at_the_leaking_edge() -> None:
    made, _ = detector("I1", "I2", "I3")
    windows = series(3, leak(1e6, ("user-db", "outside:sink")))
    edge = windows.edges.index(key("user-db", "outside:sink"))
    assert made.score(windows).contributions[70].argmax() == edge


# the statistics
def test_window_sums() -> None:
    assert window_sums(np.arange(6.0), 3).tolist() == [0, 1, 3, 6, 9, 12]


def test_long_sums_are_held_down_when_the_excess_is_over() -> None:
    assert held(np.array([[0.0, 9.0], [4.0, 9.0]]), (1, 6))[:, 1] == pytest.approx([0.0, 9.0])
    assert held(np.array([[2.0, 3.0]]), (1, 6))[:, 1] == pytest.approx([3.0]), "a steady excess stays"


def test_correlation_is_drawn_towards_independence() -> None:
    common = np.random.default_rng(1).normal(size=(60, 1))
    out = correlation(np.hstack([common, common]))
    assert out[0, 1] == pytest.approx(60 / 90)
    assert np.diag(out).tolist() == [1, 1]
    assert correlation(np.zeros((60, 2))).tolist() == np.eye(2).tolist()


# I4
def test_i4_sees_a_relay_that_returns_more_than_it_got() -> None:
    made, threshold = detector("I4")
    assert (made.score(series(3)).score > threshold).mean() < 0.02
    half = ("user", "front-end", "outside:users")  # the data was in the relay already
    windows = series(3, leak(5e5, half))
    assert (made.score(windows).score[LEAK.start : LEAK.stop] > threshold).mean() > 0.8
    reason = made.explain(windows.at(70))[0]
    assert reason.family == "I4"
    assert reason.bytes_low < 5e5 < reason.bytes_high * 1.2
    assert "relay balance" in reason.text


# I5
def test_i5_names_the_pod_that_returns_more_than_its_siblings() -> None:
    made, _ = detector("I5")
    windows = series(3, leak(1e6))
    assert made.score(windows).score[LEAK.start : LEAK.stop].min() > 2 * made.score(series(3)).score.max()
    reason = made.explain(windows.at(70))[0]
    assert len(reason.pods) == 1
    assert windows.workloads[reason.pods[0]] in {"user", "front-end"}


def test_i5_is_off_without_siblings() -> None:
    single = select(series(1), series(1).edges)
    assert "I5 is off" in Invariants(families=["I5"]).fit(single).notes[0]


# I6
def test_i6_sees_more_leaving_than_users_asked_for_and_new_names() -> None:
    made, threshold = detector("I6")
    assert (made.score(series(3)).score > threshold).mean() < 0.02
    for path in (("front-end", "outside:users"), ("user-db", "outside:sink")):
        windows = series(3, leak(3e6, path))
        assert (made.score(windows).score[LEAK.start : LEAK.stop] > threshold).mean() > 0.8
        assert made.explain(windows.at(70))[0].path[-1] == path[-1]


def test_i6_sees_names_that_one_pod_asks_for() -> None:
    made, threshold = detector("I6")
    windows = series(3, leak(3e3, TUNNEL, dns=True))
    assert (made.score(windows).score[LEAK.start : LEAK.stop] > threshold).mean() > 0.8
    assert "DNS names" in made.explain(windows.at(70))[0].text


def test_i6_sees_a_single_name_longer_than_any() -> None:
    made, threshold = detector("I6")
    rows = benign(Toy(180, seed=3))
    row = rows[key("user-db", "kube-dns")]
    row["dns_queries"][70] += 1
    row["dns_name_bytes"][70] += 60 * row["dns_queries"][70] + 210
    windows = to_series(rows, Toy(180, seed=3), series(1).workloads, None)
    assert made.score(windows).score[70] > threshold
    reason = made.explain(windows.at(70))[0]
    assert "long DNS names" in reason.text
    assert reason.bytes_low < reason.bytes_estimate < reason.bytes_high


# calibration of the families
def test_calibrated_families_keep_their_state_and_order() -> None:
    made = Invariants().fit(series(1))
    benign = made.calibrate(series(2)).score
    leaking = made.score(series(3, leak(1e6))).score
    assert leaking[LEAK.start + 2 : LEAK.stop].min() > benign.max()
    twin = Invariants().load_state(made.state())
    assert np.array_equal(twin.score(series(3, leak(1e6))).score, leaking)


# drift
def test_partial_fit_follows_drift_but_is_bounded_and_keeps_the_reference() -> None:
    made = Invariants(families=["I3"]).fit(series(1))
    before = made.score(series(3, leak(1e5))).score
    assert made.score(series(3)).reference is None
    for _ in range(30):  # a thief who leaks for a month, and nobody looks
        made.partial_fit(series(2, Leak(0, 180, 1e5)))
    after = made.score(series(3, leak(1e5)))
    assert np.array_equal(after.reference, before)
    lost = before[LEAK.start : LEAK.stop].mean() - after.score[LEAK.start : LEAK.stop].mean()
    assert 0 < lost < 0.5 * before[LEAK.start : LEAK.stop].mean(), "bounded: a leak cannot be trained away"
    twin = Invariants(families=["I3"]).load_state(made.state())
    assert np.array_equal(twin.score(series(3)).score, made.score(series(3)).score)
