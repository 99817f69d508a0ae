"""The capture table says what was recorded, and which stores were real."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

from mimir.report.capture_table import capture_table


def test_real_stores_stand_among_what_matters() -> None:
    counts: dict[str, Any] = {"packets": 5, "odd": 7, "dropped": 0, "stores": {"session-db": "Redis 7.0.15"}}
    table = capture_table(cast(Any, SimpleNamespace(capture={"fit": counts})))
    assert table.rows == [("Packets", ["5"]), ("Stores: session-db", ["Redis 7.0.15"])]
    assert (table.rest, table.zero) == ([("Odd", ["7"])], ["Dropped"])
