"""Power of I3 on the toy shop: recall at one alert a day, and the false alarms that really come. Run with `-m slow -s`."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from mimir.detectors.calibration import Calibration
from mimir.detectors.invariants import Invariants
from mimir.units import DAY_S
from tests.support.toyshop import Leak, Toy, shop

RATES = (1e6, 1e5, 1e4)  # bytes a minute
INCIDENTS, LENGTH_S, PAUSE_S, BENIGN_DAYS = 8, 1200, 2400, 3
SEEDS = (1, 2, 3)


@dataclass(frozen=True)
class Outcome:
    """Means over SEEDS."""

    recall: dict[float, float]
    false_alerts_per_day: float


def study(window_s: int, hours: float) -> Outcome:
    """Fit and calibrate on `hours` each; then BENIGN_DAYS without and INCIDENTS with a leak per rate, other seeds."""
    windows = round(hours * 3600 / window_s)
    hits: dict[float, list[bool]] = {rate: [] for rate in RATES}
    false = []
    for seed in SEEDS:
        detector = Invariants().fit(shop(Toy(windows, window_s, seed), with_pods=False))
        benign = detector.score(shop(Toy(windows, window_s, seed + 100), with_pods=False)).score
        threshold = Calibration(benign, window_s).threshold(1).value
        quiet = Toy(BENIGN_DAYS * DAY_S // window_s, window_s, seed + 200, steps=24 * BENIGN_DAYS)
        false.append((detector.score(shop(quiet, with_pods=False)).score > threshold).sum() / BENIGN_DAYS)
        for rate in RATES:
            hits[rate] += _incidents(detector, threshold, rate * window_s / 60, window_s, seed + 300)
    return Outcome({rate: float(np.mean(h)) for rate, h in hits.items()}, float(np.mean(false)))


def _incidents(detector: Invariants, threshold: float, bytes_per_window: float, window_s: int, seed: int) -> list[bool]:
    length, period = LENGTH_S // window_s, (LENGTH_S + PAUSE_S) // window_s
    starts = [period * i + PAUSE_S // window_s for i in range(INCIDENTS)]
    leaks = [Leak(s, s + length, bytes_per_window, message_bytes=4096) for s in starts]
    toy = Toy(period * INCIDENTS, window_s, seed, steps=24 * INCIDENTS // 4)
    alerts = detector.score(shop(toy, *leaks, with_pods=False)).score > threshold
    return [bool(alerts[s : s + length].any()) for s in starts]


@pytest.mark.slow
@pytest.mark.parametrize(("window_s", "hours"), [(60, 3), (60, 2), (10, 2)])
def test_power(window_s: int, hours: float) -> None:
    outcome = study(window_s, hours)
    print(f"\n{window_s} s windows, {hours} h to fit and to calibrate: {outcome}")
    assert outcome.recall[1e6] == 1.0
    assert outcome.recall[1e5] >= 0.95
    assert outcome.recall[1e4] < 0.9, "10 kB a minute should drown in 1 MB: is the toy still a test?"
    assert outcome.false_alerts_per_day < 6
