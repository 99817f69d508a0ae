"""What follows pods and the clock is taken off when there are more pods than usual."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from mimir.detectors.calibration import Calibration
from mimir.detectors.invariants import Invariants
from mimir.detectors.invariants.presence import Presence, pods_present
from mimir.detectors.invariants.regression import Fit
from mimir.detectors.invariants.targets import CALLS, Counts, Invariant, Target, beyond_training, usual_shares
from mimir.flows.edges import COUNTERS, EdgeKey, EdgeSeries

ENTRY, STORE = EdgeKey("outside:users", "shop", 80, "tcp"), EdgeKey("shop", "db", 5432, "tcp")
PROBE = EdgeKey("node:n1", "shop", 80, "tcp")
FIT = Fit(np.array([0.0, 2.0]), np.eye(2), 1.0, 0.0, 0.0, 0.0)
HEARTBEATS, PROBES = 6.0, 40.0  # a window and pod


def rows(requests: np.ndarray, pods: np.ndarray, edge: int) -> pd.DataFrame:
    out = pd.DataFrame(0.0, index=range(len(requests)), columns=list(COUNTERS))
    out["exchanges"] = [requests, 2 * requests + HEARTBEATS * pods, PROBES * pods][edge]
    for name, size in (("request_payload_bytes", 100), ("response_payload_bytes", 500), ("request_bytes", 200)):
        out[name] = size * out["exchanges"]
    out.insert(0, "edge", edge)
    out.insert(0, "window", np.arange(len(requests)))
    return out


def shop(seed: int, pods: list[int], windows: int = 120) -> EdgeSeries:
    """`pods` of the service `shop` in equal parts of the recording."""
    rng = np.random.default_rng(seed)
    requests = rng.poisson(300 * (1 + 0.4 * np.sin(np.arange(windows) / 9))).astype(float)
    present = np.repeat(np.array(pods, dtype=float), windows // len(pods))
    start = 1_700_000_040 + 60 * np.arange(windows, dtype=np.int64)
    names = {f"shop-{i}": "shop" for i in range(max(pods))} | {"db-0": "db"}
    keys = tuple(EdgeKey(f"shop-{i}", "db-0", 5432, "tcp") for i in range(max(pods)))
    alive = pd.concat([rows(1.0 * (present > i), present, 0).assign(edge=i)[present > i] for i in range(max(pods))])
    view = EdgeSeries(60, start, keys, alive, names)
    table = pd.concat([rows(requests, present, i) for i in range(3)])
    return EdgeSeries(
        60, start, (ENTRY, STORE, PROBE), table, {**names, "shop": "shop", "db": "db"}, frozenset({"db"}), view
    )


def test_pods_are_counted_and_remembered_for_a_minute() -> None:
    series = shop(1, [2, 5, 3])
    assert pods_present(series)["shop"][[0, 39, 40, 80, 119]].tolist() == [2, 2, 5, 3, 3]
    assert pods_present(series)["db"].tolist() == [1] * 120


def test_without_a_pod_view_nothing_is_taken_off() -> None:
    assert pods_present(shop(1, [2]).pods) == {}


def test_background_is_found_and_scaled_by_pods() -> None:
    keys, dns = (ENTRY, STORE, PROBE), np.zeros(3, dtype=bool)
    counts = Counts(shop(1, [2]), keys, dns)
    assert counts.presence.background[CALLS] == pytest.approx([counts.requests[:, 0].mean(), 12, 80], rel=0.05)
    grown = Counts(shop(2, [2, 6]), keys, dns, counts.presence)
    assert grown.requests[60:, 2] == pytest.approx(80)
    assert grown.requests[60:, 1] == pytest.approx(2 * grown.requests[60:, 0] + 12, abs=3)


def test_state_comes_back() -> None:
    presence = Counts(shop(1, [2]), (ENTRY, STORE, PROBE), np.zeros(3, dtype=bool)).presence
    again = Presence.from_state(presence.state())
    assert again.state().keys() == presence.state().keys()
    assert np.array_equal(again.background[CALLS], presence.background[CALLS])


def test_a_mix_that_training_never_showed_makes_predictions_unsure() -> None:
    total = np.full(50, 1000.0)
    usual = np.linspace(100, 200, 50)[:, None]
    invariant = Invariant(Target(0, CALLS, "count"), ((1, 0),), FIT, usual_shares(usual, total), 0.0)
    assert invariant.shares[0] == pytest.approx([0.075, 0.225])
    assert beyond_training(invariant, np.array([[75.0], [150.0], [225.0]]), total[:3]) == pytest.approx(0.0)
    assert beyond_training(invariant, np.array([[0.0], [425.0]]), total[:2]) == pytest.approx([150.0, 400.0])


def test_scaling_out_raises_no_alert() -> None:
    made = Invariants(families=["I3"]).fit(shop(1, [2]))
    threshold = Calibration(made.score(shop(2, [2])).score, 60).threshold(1).value
    scores = made.score(shop(3, [2, 6])).score
    assert (scores > threshold).mean() < 0.02
    blind = made.score(EdgeSeries(60, (s := shop(3, [2, 6])).window_start, s.edges, s.table, s.workloads, s.sensitive))
    assert (blind.score[60:] > threshold).mean() > 0.5, "the toy does not show the defect"
