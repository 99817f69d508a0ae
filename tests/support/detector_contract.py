"""What every detector must do, as plain functions that raise AssertionError. See docs/concepts/detectors.md."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from mimir.detectors.base import Detector, Supervised
from mimir.detectors.registry import load_detector, save_state
from mimir.errors import NotFittedError
from mimir.flows.edges import EdgeSeries
from tests.support.toymessages import empty, select, shop
from tests.support.toyshop import CHAIN, Leak, Toy

Make = Callable[[], Detector]
FIT, TEST, LESSON = Toy(150, seed=1), Toy(90, seed=2), Toy(100, seed=3)
LEAK = range(40, 60)
DIRECT = ("user-db", "outside:sink")


@cache
def series(toy: Toy, rate: float = 0.0, path: tuple[str, ...] = DIRECT) -> EdgeSeries:
    """The shop, leaking `rate` bytes a window in windows LEAK."""
    leaks = [Leak(LEAK.start, LEAK.stop, rate, path)] if rate else []
    return shop(toy, *leaks)


def taught(make: Make, benign: EdgeSeries) -> Detector:
    """Fitted; a supervised detector was shown labelled leaks too, on another path and at other rates than in the checks."""
    detector = make().fit(benign)
    if isinstance(detector, Supervised):
        windows, labels = labelled()
        pods_only = benign.pods is None and any(key.client in benign.workloads for key in benign.edges)
        detector.learn(windows.pods if pods_only and windows.pods else windows, labels)
    return detector


@cache
def labelled() -> tuple[EdgeSeries, NDArray[np.int8]]:
    """Windows with leaks from orders-db through orders, and which they are."""
    labels = np.zeros(LESSON.windows, dtype=np.int8)
    leaks = []
    for number, rate in enumerate((3e5, 3e6, 3e7)):
        leaks.append(
            Leak(30 * number + 10, 30 * number + 25, rate, ("orders-db", "orders", "front-end", "outside:users"))
        )
        labels[leaks[-1].start : leaks[-1].stop] = 1
    return shop(LESSON, *leaks), labels


def leaking(detector: Detector, rate: float, path: tuple[str, ...] = DIRECT) -> float:
    """Mean score of the windows in which `rate` bytes leak."""
    return float(detector.score(series(TEST, rate, path)).score[LEAK.start : LEAK.stop].mean())


def check_shape(make: Make) -> None:
    """One finite score a window, contributions per edge, names of the series."""
    windows = series(TEST, 1e6)
    scores = taught(make, series(FIT)).score(windows)
    assert scores.window_s == windows.window_s
    assert np.array_equal(scores.window_start, windows.window_start)
    assert scores.edges == windows.edges
    assert scores.score.shape == (len(windows),)
    assert scores.contributions.shape == (len(windows), len(windows.edges))
    assert np.isfinite(scores.score).all()
    assert np.isfinite(scores.contributions).all()


def check_sees_no_future(make: Make) -> None:
    """Windows have the same scores whether or not later ones are there."""
    windows, seen = series(TEST, 1e6), LEAK.start + len(LEAK) // 2
    detector = taught(make, select(series(FIT), series(FIT).edges))
    later, now = (detector.score(select(windows, windows.edges, count)).score[:seen] for count in (None, seen))
    assert now == pytest.approx(later, rel=1e-6, abs=1e-9)


def check_unfitted(make: Make) -> None:
    """Use before fit raises NotFittedError, whatever is asked."""
    windows = series(TEST)
    for use in (lambda d: d.score(windows), lambda d: d.explain(windows.at(0)), lambda d: d.state()):
        with pytest.raises(NotFittedError, match="not fitted"):
            use(make())


def check_deterministic(make: Make) -> None:
    """Same input, same scores, bit by bit; scoring leaves no trace."""
    windows = series(TEST, 1e6)
    first, second = taught(make, series(FIT)), taught(make, series(FIT))
    before = first.score(windows).score
    first.score(series(TEST))
    assert np.array_equal(before, first.score(windows).score)
    assert np.array_equal(before, second.score(windows).score)


def check_learns(make: Make) -> None:
    """What is learned depends on what was shown: a fit that does nothing is no fit."""
    one, other = taught(make, series(FIT)), taught(make, select(series(FIT), series(FIT).edges[:5]))
    assert _digest(one.state()) == _digest(taught(make, series(FIT)).state())
    assert _digest(one.state()) != _digest(other.state()), "two different recordings taught the same"


def _digest(state: object) -> str:
    if isinstance(state, dict):
        return "{" + ",".join(f"{k}:{_digest(v)}" for k, v in sorted(state.items())) + "}"
    if isinstance(state, list | tuple):
        return "[" + ",".join(map(_digest, state)) + "]"
    return state.tobytes().hex() if isinstance(state, np.ndarray) else repr(state)


def check_varies(make: Make) -> None:
    """Scores are not constant."""
    assert np.ptp(taught(make, series(FIT)).score(series(TEST, 1e6)).score) > 0, "scores are constant"


def check_leak_shows(make: Make) -> None:
    """Leaking windows score higher than the same windows with the leak turned off."""
    detector = taught(make, series(FIT))
    assert leaking(detector, 0.0) < leaking(detector, 1e6)


def check_rises(make: Make) -> None:
    """More leaked bytes score higher."""
    detector = taught(make, series(FIT))
    few, more, most = (leaking(detector, rate) for rate in (1e6, 1e7, 1e8))
    assert few < more < most


def check_never_falls(make: Make) -> None:
    """More leaked bytes never score lower: what even a detector whose score saturates must keep."""
    detector = taught(make, series(FIT))
    off, few, more, most = (leaking(detector, rate) for rate in (0.0, 1e6, 1e7, 1e8))
    assert off <= few <= more <= most


def check_thin_windows(make: Make) -> None:
    """Windows without traffic, without edges, and with one edge give finite scores."""
    detector = taught(make, series(FIT))
    for windows in (empty(series(TEST)), select(series(TEST), series(TEST).edges[:1]), select(series(TEST), [], 1)):
        scores = detector.score(windows)
        assert scores.score.shape == (len(windows),)
        assert np.isfinite(scores.score).all()
        assert np.isfinite(scores.contributions).all()
        detector.explain(windows.at(0))


def check_thin_training(make: Make) -> None:
    """Training on one edge, or on edges that never change, leaves nothing that is not finite."""
    one = select(series(FIT), series(FIT).edges[:1])
    scores = taught(make, one).score(series(TEST, 1e6))
    assert np.isfinite(scores.score).all()


def check_parameters(make: Make) -> None:
    """get_params → set_params makes an equal detector; unknown names raise."""
    detector = make()
    twin = make().set_params(**detector.get_params())
    assert twin.get_params() == detector.get_params()
    with pytest.raises(Exception, match="no parameter 'nonsense'"):
        make().set_params(nonsense=1)


def check_state(make: Make, folder: Path) -> None:
    """A stored detector is the same detector: identical scores, contributions and reasons."""
    detector, windows = taught(make, series(FIT)), series(TEST, 1e6)
    save_state(detector, folder)
    twin = load_detector(folder)
    assert twin.get_params() == detector.get_params()
    assert np.array_equal(twin.score(windows).score, detector.score(windows).score)
    assert np.array_equal(twin.score(windows).contributions, detector.score(windows).contributions)
    assert twin.explain(windows.at(LEAK.start)) == detector.explain(windows.at(LEAK.start))


def check_reasons(make: Make) -> None:
    """A leaking window has reasons, and they name things that exist."""
    detector = taught(make, series(FIT))
    for path in (DIRECT, CHAIN):
        windows = series(TEST, 3e7, path)
        assert windows.pods is not None
        services = {n for e in windows.edges for n in (e.client, e.server)} | set(windows.workloads.values())
        pods = {n for e in windows.pods.edges for n in (e.client, e.server)}
        reasons = detector.explain(windows.at(LEAK.start + 5))
        assert reasons or path == CHAIN
        for reason in reasons:
            assert {reason.client, reason.server, *reason.path} <= services | pods, reason.text
            assert set(reason.pods) <= pods
            assert reason.client in reason.text
            assert reason.server in reason.text


def check_new_pods(make: Make) -> None:
    """Scaling out is no anomaly by itself, in either view."""
    grown = shop(Toy(90, seed=2, replicas={"front-end": 7, "user": 5, "catalogue": 4}))
    for before, after, fitted in (
        (series(TEST), grown, series(FIT)),
        (series(TEST).pods, grown.pods, series(FIT).pods),
    ):
        assert before is not None
        assert after is not None
        assert fitted is not None
        detector = taught(make, fitted)
        usual, scaled = detector.score(before).score, detector.score(after).score
        assert np.isfinite(scaled).all()
        assert np.median(scaled) <= usual.max()
