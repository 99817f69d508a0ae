"""Explaining many windows of one series costs one pass over it, and gives the same reasons."""

from __future__ import annotations

from typing import Any

from mimir.detectors.parameters import once_a_series, remembering


class Counting:
    def __init__(self) -> None:
        self.calls = 0

    @once_a_series
    def parts(self, series: Any) -> list[Any]:
        self.calls += 1
        return [series, self.calls]


def test_a_series_is_computed_once_while_remembering() -> None:
    detector, one, other = Counting(), object(), object()
    with remembering(detector):
        assert detector.parts(one) is detector.parts(one)
        assert detector.parts(other)[0] is other
        assert detector.parts(one)[0] is one
    assert detector.calls == 3


def test_nothing_is_kept_outside() -> None:
    detector, series = Counting(), object()
    with remembering(detector):
        detector.parts(series)
    assert detector.parts(series) == [series, 2]
    assert detector.parts(series) == [series, 3]
