"""One stream over window lengths, the blind-spot map, and what an alert says beside its reasons."""

from __future__ import annotations

import numpy as np
import pytest

from mimir.detectors.alerts import alert_row, explained
from mimir.detectors.base import Scores
from mimir.detectors.calibration import Calibration
from mimir.detectors.invariants import Invariants
from mimir.detectors.stream import Stream, on_grid
from mimir.errors import MimirError
from tests.support.toyshop import CHAIN, Leak, Toy, shop


def scores(window_s: int, values: np.ndarray, start: int = 600) -> Scores:
    windows = start + window_s * np.arange(len(values), dtype=np.int64)
    return Scores(window_s, windows, values, (), np.zeros((len(values), 0)))


def benign(seed: int, hours: int = 30) -> dict[int, Scores]:
    rng = np.random.default_rng(seed)
    return {60: scores(60, rng.exponential(size=60 * hours)), 10: scores(10, 3 * rng.exponential(size=360 * hours))}


def test_short_windows_are_laid_on_the_long_ones() -> None:
    short = np.zeros(14)
    short[[3, 9]] = 5, 7
    grid = on_grid({60: scores(60, np.array([1.0, 2, 3])), 10: scores(10, short, 640)})
    assert grid.window_start.tolist() == [660, 720]
    assert grid.score[60].tolist() == [2, 3]
    assert grid.score[10].tolist() == [5, 7]
    assert grid.strongest[10].tolist() == [670, 730]
    with pytest.raises(MimirError, match="do not fit"):
        on_grid({60: scores(60, np.zeros(3)), 25: scores(25, np.zeros(9))})


def test_the_stream_keeps_the_budget_and_sees_either_length() -> None:
    stream = Stream()
    stream.calibrate(on_grid(benign(1)))
    level = stream.threshold(24).value  # an alert an hour
    raised = [(stream.score(on_grid(benign(seed)))[0] > level).mean() * 60 for seed in range(2, 8)]
    assert 0.5 < np.mean(raised) < 2
    for window_s in (60, 10):
        leaking = benign(9)
        leaking[window_s].score[600] = 40.0
        found, length = stream.score(on_grid(leaking))
        hot = 600 if window_s == 60 else 100
        assert found[hot] > level
        assert length[hot] == window_s


def test_an_uncalibrated_stream_says_so() -> None:
    with pytest.raises(MimirError, match="not calibrated"):
        Stream().threshold(1)


def test_an_alert_says_since_when_and_what_looks_the_same() -> None:
    made = Invariants().fit(shop(Toy(180, seed=1)))
    windows = shop(Toy(180, seed=3), Leak(60, 80, 3e5))
    row = alert_row(explained(made, windows.at(70)), 2.0)
    assert row["path"] == list(CHAIN)
    assert windows.window_start[70] - 15 * 60 <= row["since"] <= windows.window_start[70]
    assert row["look_alikes"]
    single = alert_row(explained(made, windows.at(70)))
    assert row["bytes_estimate"] == pytest.approx(2 * single["bytes_estimate"])


def test_blind_spots_are_what_half_of_the_windows_miss() -> None:
    made = Invariants().fit(shop(Toy(180, seed=1)))
    calibrate = shop(Toy(180, seed=2))
    threshold = Calibration(made.calibrate(calibrate).score, 60).threshold(1).value
    rows = made.blind_spots(calibrate, threshold)
    mine = next(r for r in rows if tuple(r["path"]) == CHAIN)
    assert mine["sigma_bytes"] > 0
    assert [r["path"] for r in rows] == [
        r["path"]
        for r in sorted(rows, key=lambda r: -min(filter(None, (r["rate_small_messages"], r["rate_large_messages"]))))
    ]

    def seen(rate: float) -> float:
        leak = Leak(60, 120, rate, message_bytes=4096)
        return float((made.score(shop(Toy(180, seed=3), leak)).score[75:120] > threshold).mean())

    assert seen(mine["rate_small_messages"] / 5) < 0.5 < seen(5 * mine["rate_small_messages"])
