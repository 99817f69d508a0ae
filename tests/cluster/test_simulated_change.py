"""Pods that come and go: lives and packets agree, addresses are unique, nothing is sent twice, seeds decide everything."""

from __future__ import annotations

import hashlib
import json
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mimir.capture.batch import RST, SYN
from mimir.cluster.base import Recording
from mimir.cluster.simulated import SimulatedCluster
from mimir.cluster.simulated.hpa import Autoscaler, recommend
from mimir.cluster.simulated.roster import Pod, Roster
from mimir.errors import SpecError
from mimir.evaluation.truth import split_ledger
from mimir.exfiltration.ledger import read_ledger
from mimir.spec.change import AutoscalingSpec, HpaSpec
from mimir.units import NS_PER_S
from tests.cluster.simulated_samples import START_S, make_recording, make_spec, read_packets

TRIGGERS = ["scale_out", "rolling_update", "pod_kill", "node_drain", "scale_in"]
CHANGING = {"load": {"users": 5, "triggers": TRIGGERS, "trigger_separate": False}}
POD_NETWORK = int(IPv4Address("10.244.0.0"))
LOOP = HpaSpec(
    sync_s=15, tolerance=0.1, stabilization_s=300, up_pods=4, up_percent=100, cpu_share=0.5, idle_millicores=0
)


@pytest.fixture(scope="module")
def changing(tmp_path_factory: pytest.TempPathFactory) -> Recording:
    return make_recording(make_spec(CHANGING), tmp_path_factory.mktemp("changing"), 1300)


def tenures(recording: Recording) -> list[tuple[str, int, float, float]]:
    """(pod, address, since s, until s) from the entity log."""
    lines = [json.loads(line) for line in recording.entities.read_text().splitlines()]
    found: dict[str, list[Any]] = {}
    for line in (line for line in lines if line["kind"] == "pod"):
        if line["event"] == "added":
            found[line["name"]] = [int(IPv4Address(line["ip"])), line["ts"], float("inf")]
        else:
            found[line["name"]][2] = line["ts"]
    return [(name, *rest) for name, rest in found.items()]


def test_packets_lie_within_the_lives_of_their_pods(changing: Recording) -> None:
    packets, lives = read_packets(changing), tenures(changing)
    assert sum(until < float("inf") for *_, until in lives) > 10
    for end in ("src", "dst"):
        known = np.zeros(len(packets["ts_ns"]), dtype=bool)
        for _, address, since, until in lives:
            mine = packets[end] == address
            inside = (packets["ts_ns"] >= since * NS_PER_S) & (packets["ts_ns"] < until * NS_PER_S)
            known |= mine & inside
        of_pods = (packets[end] >> np.uint64(16)) == POD_NETWORK >> 16
        assert not (of_pods & ~known).any()


def test_addresses_are_unique_at_any_time_and_every_new_pod_speaks(changing: Recording) -> None:
    lives, packets = tenures(changing), read_packets(changing)
    for name, address, since, until in lives:
        others = [o for o in lives if o[0] != name and o[1] == address]
        assert all(o[3] <= since or o[2] >= until for o in others), name
        if since > START_S:
            assert (packets["src"] == address).sum() > 20, name


def test_every_connection_keeps_its_sequence_numbers(changing: Recording) -> None:
    """Beside its receiver each end's data is whole: no gap, nothing acknowledged that was not sent."""
    p = read_packets(changing)
    tcp = p["proto"] == 6
    flows: dict[tuple[int, ...], list[int]] = {}
    rows = np.flatnonzero(tcp)
    keys = zip(*(p[k][rows].tolist() for k in ("src", "sport", "dst", "dport", "ifindex")), strict=True)
    for row, key in zip(rows.tolist(), keys, strict=True):
        flows.setdefault(key, []).append(row)
    checked = 0
    for mine in flows.values():
        if not p["tcp_flags"][mine[0]] & SYN:
            continue
        at = int(p["tcp_seq"][mine[0]])
        for row in mine:
            if p["tcp_flags"][row] & SYN:
                at = int(p["tcp_seq"][row])
            behind = (at - int(p["tcp_seq"][row])) % (1 << 32)
            assert behind == 0 or behind < 1 << 16, row  # behind: sent again
            checked += 1
            if behind == 0:
                step = int(p["payload_bytes"][row]) + bool(p["tcp_flags"][row] & 3)
                at = (at + step) % (1 << 32)
    assert checked > 20_000


def test_a_killed_pod_resets_what_was_under_way_or_nothing_was(changing: Recording) -> None:
    p = read_packets(changing)
    reset = (p["tcp_flags"] & RST) > 0
    assert reset.sum() < 200
    nothing = p["payload_bytes"][reset]
    assert not nothing.any()


def test_the_ledger_names_kinds_services_and_pods(changing: Recording) -> None:
    entries = read_ledger(changing.truth)
    assert {e.path_class for e in entries} == {f"benign:{kind}" for kind in TRIGGERS}
    names = {name for name, *_ in tenures(changing)}
    for entry in entries:
        assert all(set(pods.split(",")) <= names for pods in entry.pods if pods)
        assert entry.bytes_delivered == 0
        assert entry.end > entry.start
    rows = [json.loads(line) for line in changing.truth.read_text().splitlines()]
    leaks, benign = split_ledger(rows)
    assert not leaks
    assert len(benign) == len(TRIGGERS)


@pytest.mark.slow
def test_changes_are_the_same_under_a_seed(changing: Recording, tmp_path: Path) -> None:
    again = make_recording(make_spec(CHANGING), tmp_path, 1300)
    for a, b in zip(
        (changing.captures[0], changing.entities, changing.truth, changing.timeline),
        (again.captures[0], again.entities, again.truth, again.timeline),
        strict=True,
    ):
        assert hashlib.sha256(a.read_bytes()).digest() == hashlib.sha256(b.read_bytes()).digest()


@pytest.mark.slow
def test_a_leak_survives_the_update_of_its_pods_and_the_ledger_counts_it(tmp_path: Path) -> None:
    """Triggers in the middle of a leak: it goes on from the pods that come."""
    spec = make_spec(
        {"load": {"users": 5, "triggers": ["rolling_update", "node_drain"], "trigger_separate": False},
         "exfiltration": {"incidents": 1, "incident_duration_s": 900}}, exfiltration="relay_chain",
    )  # fmt: skip
    recording = make_recording(spec, tmp_path, 1300)
    leak = next(e for e in read_ledger(recording.truth) if not e.path_class.startswith("benign:"))
    assert leak.bytes_delivered == leak.bytes_intended
    assert leak.sha256_sent == leak.sha256_received


def test_triggers_keep_away_from_incidents(tmp_path: Path) -> None:
    spec = make_spec(
        {"load": {"users": 3, "triggers": ["pod_kill", "scale_out"]}, "exfiltration": {"incidents": 1}},
        exfiltration="relay_chain",
    )
    entries = read_ledger(make_recording(spec, tmp_path, 2400).truth)
    leak = next(e for e in entries if not e.path_class.startswith("benign:"))
    triggers = [e for e in entries if e.path_class.startswith("benign:")]
    assert len(triggers) == 2
    assert all(t.end <= leak.start or t.start >= leak.end + 300 for t in triggers)


def test_triggers_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"load\.triggers"):
        make_recording(make_spec({"load": {"triggers": TRIGGERS, "trigger_count": 9}}), tmp_path, 600)


@pytest.mark.slow
def test_autoscaled_pods_follow_the_load_within_their_bounds(tmp_path: Path) -> None:
    spec = make_spec({"load": {"users": 60, "day_s": 900}, "cluster": {"autoscaling": True}})
    lives = tenures(make_recording(spec, tmp_path, 900))
    mine = [life for life in lives if life[0].startswith("front-end")]
    assert len(mine) > 3
    for at in np.arange(START_S, START_S + 900, 15.0):
        assert 3 <= sum(since <= at < until for _, _, since, until in mine) <= 10


@pytest.mark.parametrize(
    ("app", "service", "users", "seconds"), [("hipsterstore", "frontend", 40, 300), ("wordpress", "wordpress", 60, 200)]
)
def test_rising_load_makes_autoscaled_applications_grow(
    app: str, service: str, users: int, seconds: int, tmp_path: Path
) -> None:
    load = {"users": users, "profile": [20, 100], "day_s": 2 * seconds, "interpolation": "linear"}
    recording = make_recording(make_spec({"load": load, "cluster": {"autoscaling": True}}, app=app), tmp_path, seconds)
    bounds = make_spec(app=app).app.autoscaling[service]
    mine = [life for life in tenures(recording) if life[0].startswith(f"{service}-")]
    first = {address for _, address, since, _ in mine if since <= START_S}
    new = {address: since for _, address, since, _ in mine if since > START_S}
    assert len(new) >= 2
    assert not first & set(new)
    counts = [
        sum(since <= at < until for _, _, since, until in mine) for at in np.arange(START_S, START_S + seconds, 5)
    ]
    assert bounds.min_replicas <= min(counts)
    assert counts[0] < max(counts) <= bounds.max_replicas
    assert min(counts[:20]) >= counts[0]  # nothing is removed before the stabilization window is over
    p = read_packets(recording)
    for address, since in list(new.items())[:2]:
        replies = (p["src"] == address) & (p["payload_bytes"] > 500)
        assert replies.any()
        assert p["ts_ns"][replies].min() / NS_PER_S > since  # the new pods serve, and not before they are there


#: (ready, unready, millicores used, wanted): target 50 % of 100 m, so 50 m a pod
HAND = [(3, 0, 150, 3), (3, 0, 164, 3), (3, 0, 166, 4), (3, 0, 300, 6), (4, 0, 100, 2), (4, 0, 181, 4), (4, 0, 179, 4),
        (2, 2, 150, 4), (2, 2, 300, 6), (1, 0, 1000, 20), (3, 0, 0, 0)]  # fmt: skip


@pytest.mark.parametrize(("ready", "unready", "used", "wanted"), HAND)
def test_recommendations_are_those_computed_by_hand(ready: int, unready: int, used: float, wanted: int) -> None:
    assert recommend(ready, unready, used, AutoscalingSpec(1, 30, 50, 100), 0.1) == wanted


def test_scaling_down_waits_for_the_window_and_up_is_limited() -> None:
    scaler = Autoscaler(AutoscalingSpec(2, 30, 50, 100), LOOP)
    assert scaler.decide(0, 3, 0, 3000) == 7  # 60 wanted, at most 4 more (or twice 3)
    assert scaler.decide(15, 7, 0, 3000) == 14  # twice 7
    assert scaler.decide(30, 14, 0, 3000) == 28
    assert scaler.decide(45, 28, 0, 100) == 28  # 2 wanted, 60 within the window
    assert scaler.decide(331, 28, 0, 100) == 2  # the last high recommendation is older than 300 s
    assert scaler.decide(346, 2, 0, 0) == 2  # min_replicas


def test_an_address_comes_back_only_after_all_others() -> None:
    roster = Roster((Pod("a-0", "a", "n", 100, 5),), 100, 3)
    first = roster.lives[roster.add("a", "n", 10, 20, "a-1")].pod
    roster.end(1, 30, 40, 10)
    second = roster.lives[roster.add("a", "n", 50, 60, "a-2")].pod
    assert (first.ip, second.ip, second.ifindex) == (101, 102, 7)
    third = roster.lives[roster.add("a", "n", 5 * NS_PER_S, 6 * NS_PER_S, "a-3")].pod
    assert third.ip == 101  # 100 is held


PROBLEMS: list[tuple[dict[str, Any], str, str]] = [
    ({"load": {"triggers": ["rolling_updates"]}}, "load.triggers", "did you mean 'rolling_update'?"),
    ({"load": {"trigger_recordings": ["tset"]}}, "load.trigger_recordings", "did you mean 'test'?"),
    ({"load": {"trigger_count": 0}}, "load.trigger_count", "≥ 1"),
    ({"app": {"autoscaling": {"user": {"min_replicas": 9, "max_replicas": 2}}}}, "app.autoscaling.user.min_replicas",
     "min ≤ max"),
    ({"app": {"triggers": {"pod_kill": {"pods": {"services": ["user-db"]}}}}}, "app.triggers.pod_kill", "kind app"),
    ({"cluster": {"pods": {"addresses": 5}}}, "cluster.pods.addresses", "too few"),
]  # fmt: skip


@pytest.mark.parametrize(("changes", "where", "says"), PROBLEMS)
def test_problems_name_the_key_and_what_is_allowed(changes: dict[str, Any], where: str, says: str) -> None:
    found = "\n".join(str(p) for p in SimulatedCluster(make_spec(changes)).problems())
    assert where in found
    assert says in found


def test_a_trigger_the_application_lacks_is_named() -> None:
    spec = make_spec({"load": {"triggers": ["state_transfer"]}}, app="bookinfo")
    found = str(SimulatedCluster(spec).problems()[0])
    assert "state_transfer is not defined for app=bookinfo" in found
    assert "log_shipping" in found
