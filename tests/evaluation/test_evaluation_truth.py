"""The ledger: delivery curves, bytes inside windows, rows that contradict themselves."""

import numpy as np
import pytest

from mimir.evaluation.truth import delivered_in, split_ledger
from mimir.exfiltration.ledger import LedgerEntry, LedgerError
from tests.evaluation.evaluation_samples import T0, make_incident


def only(row: dict) -> LedgerEntry:
    return split_ledger([row])[0][0]


def test_bytes_in_windows_add_up_and_partly_covered_windows_get_their_part() -> None:
    leak = only(make_incident(start=T0 + 30.0, duration=60.0))
    starts = T0 + 60 * np.arange(-1, 4)
    assert delivered_in(leak, starts, 60).tolist() == pytest.approx([0.0, 30_000.0, 30_000.0, 0.0, 0.0])


def test_windows_of_all_lengths_see_the_same_leak() -> None:
    leak = only(make_incident(start=T0 + 17.3, duration=333.0))
    for window_s in (1, 10, 60):
        starts = np.arange(T0, T0 + 600, window_s)
        assert delivered_in(leak, starts, window_s).sum() == pytest.approx(333_000)


def test_bytes_are_not_spread_over_a_pause() -> None:
    start = float(T0)
    leak = only(
        make_incident(
            start=start, duration=900.0, bytes_delivered=200, delivered=[[start + 5, 100], [start + 605, 200]]
        )
    )
    starts = T0 + 60 * np.arange(15)
    assert np.flatnonzero(delivered_in(leak, starts, 60)).tolist() == [0, 9, 10]


def test_a_ledger_without_points_spreads_evenly() -> None:
    leak = only(make_incident(start=float(T0), duration=120.0, delivered=[], bytes_delivered=1200))
    assert delivered_in(leak, T0 + 60 * np.arange(2), 60).tolist() == [600.0, 600.0]


def test_other_recordings_and_benign_events_are_kept_apart() -> None:
    rows = [
        make_incident("late", start=T0 + 5000.0),
        make_incident("early"),
        make_incident("elsewhere", recording="fit"),
        make_incident("out", path_class="benign:scale_out", bytes_delivered=0, delivered=[]),
    ]
    leaks, events = split_ledger(rows)
    assert [i.incident for i in leaks] == ["early", "late"]
    assert [i.path_class for i in events] == ["benign:scale_out"]


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"bytes_delivered": 1}, "ends at"),
        ({"delivered": [[T0 + 3700, 5], [T0 + 3650, 6]], "bytes_delivered": 6}, "must rise"),
        ({"delivered": [[T0 + 3700, 5], [T0 + 3705, 4]], "bytes_delivered": 4}, "must rise"),
        ({"end": T0}, "ends before it starts"),
        ({"delivered": None}, "delivered: "),
        ({"delivered": [[T0, 600_000]], "bytes_delivered": 600_000}, "must rise"),
        ({"start": "noon"}, "start: "),
    ],
)
def test_contradictions_are_named(changes: dict, says: str) -> None:
    with pytest.raises(LedgerError, match=f"leak-1.*{says}"):
        split_ledger([make_incident() | changes])
