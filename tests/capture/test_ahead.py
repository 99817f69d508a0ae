"""Reading ahead changes neither items, order nor errors, and leaves no thread behind."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mimir.capture.ahead import read_ahead


@settings(suppress_health_check=[HealthCheck.too_slow])  # starts a thread each time: no matter how long that takes
@given(st.lists(st.integers()), st.integers(1, 5))
def test_items_come_in_their_order(items: list[int], room: int) -> None:
    assert list(read_ahead(items, room)) == items


def test_an_error_comes_out_in_its_place() -> None:
    def broken() -> Iterator[int]:
        yield 1
        raise ValueError("cut")

    ahead = read_ahead(broken(), 2)
    assert next(ahead) == 1
    with pytest.raises(ValueError, match="cut"):
        next(ahead)


def test_stopping_early_closes_the_source_and_ends_the_thread() -> None:
    made: list[int] = []
    closed = threading.Event()

    def endless() -> Iterator[int]:
        try:
            while True:
                made.append(len(made))
                yield made[-1]
        finally:
            closed.set()

    ahead = read_ahead(endless(), 3)
    assert next(ahead) == 0
    ahead.close()
    assert closed.is_set()
    assert len(made) <= 6
    assert not [t for t in threading.enumerate() if t.name == "read-ahead"]
