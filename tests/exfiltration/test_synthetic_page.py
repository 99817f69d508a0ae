"""A classifier tells synthetic leaks from transmitted ones; on features that say nothing it cannot."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from scripts.synthetic_page import judge_rate, separate


def test_what_differs_is_found_and_what_does_not_is_not() -> None:
    random = np.random.default_rng(3)
    groups, labels = np.repeat(np.arange(20), 8), np.tile([0, 1], 80)
    noise = random.standard_normal((160, 5))
    told = separate(np.column_stack([noise, labels + 0.1 * random.standard_normal(160)]), labels, groups, resamples=100)
    assert told.auroc > 0.99
    assert told.incidents == 160
    blind = separate(noise, labels, groups, resamples=100)
    assert blind.low < 0.5 < blind.high


def test_a_recording_is_never_in_train_and_test() -> None:
    """Labels in a column that only this recording has: a model that saw it would know them, one that did not does not."""
    groups, labels = np.repeat(np.arange(10), 4), np.tile([0, 1], 20)
    named = np.eye(10)[groups] * (
        2 * labels[:, None] - 1
    )  # within a recording the label stands in one column of its own
    assert separate(named, labels, groups, resamples=20).auroc == 0.5


@pytest.mark.slow
def test_synthetic_leaks_of_sock_shop_are_told_apart(tmp_path: Path) -> None:
    found = judge_rate(range(1, 4), 100_000.0, users=5, folder=tmp_path)
    assert found["all counters"].incidents == 24
    assert found["all counters"].auroc > 0.9
    assert found["response bytes only"].auroc < found["all counters"].auroc
