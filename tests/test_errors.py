from __future__ import annotations

import pickle

import pytest

from mimir.errors import CaptureError, MimirError, Problem, SpecError


@pytest.mark.parametrize(
    "error",
    [
        MimirError("no"),
        SpecError([Problem("seed", "is wrong"), Problem("load", "too")]),
        CaptureError("a.pcap", "cut", 24),
    ],
    ids=lambda e: type(e).__name__,
)
def test_errors_cross_process_borders_unchanged(error: MimirError) -> None:
    copy = pickle.loads(pickle.dumps(error))
    assert (type(copy), str(copy), copy.exit_code) == (type(error), str(error), error.exit_code)


def test_problem_says_what_where_allowed_and_next() -> None:
    assert str(Problem("seed", "must be ≥ 0", "0, 1 …", "set it")) == "seed must be ≥ 0 (allowed: 0, 1 …); set it"
