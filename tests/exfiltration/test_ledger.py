"""truth.jsonl: what is written reads back, what is wrong is named."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mimir.exfiltration.ledger import LedgerEntry, LedgerError, delivered_at, read_ledger, write_ledger

ENTRY = LedgerEntry(
    incident="relay_chain-1",
    recording="test",
    start=1000.5,
    end=1060.0,
    channel="http_relay",
    technique="T1041",
    path_class="allowed_chain",
    path=("user-db", "user", "front-end", "outside"),
    pods=("user-db-0", "user-1", "front-end-0", ""),
    bytes_intended=1200,
    bytes_delivered=1000,
    sha256_sent="a" * 64,
    sha256_received="b" * 64,
    delivered=((1001.0, 0), (1005.0, 400), (1050.0, 900), (1060.0, 1000)),
)


def test_round_trip_in_order_of_start(tmp_path: Path) -> None:
    earlier = replace(ENTRY, incident="b", start=1.0)
    write_ledger(tmp_path / "truth.jsonl", [ENTRY, earlier])
    assert read_ledger(tmp_path / "truth.jsonl") == [earlier, ENTRY]
    documented = (Path(__file__).resolve().parents[2] / "docs" / "concepts" / "run-directory.md").read_text()
    section = documented.split("## truth.jsonl")[1].split("##")[0]
    assert all(name in section for name in asdict(ENTRY))


def test_no_incidents_are_an_empty_file(tmp_path: Path) -> None:
    write_ledger(tmp_path / "truth.jsonl", [])
    assert (tmp_path / "truth.jsonl").read_bytes() == b""
    assert read_ledger(tmp_path / "truth.jsonl") == []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"start": "soon"}, r"start: .* \(got 'soon'\)"),
        ({"start": True}, "start: "),
        ({"end": -1}, "end: "),
        ({"end": 3}, "end 3.0 is before start 1000.5"),
        ({"path": "user-db"}, "path: "),
        ({"path": ["user-db"], "pods": ["a"]}, "path needs a store and a way out"),
        ({"pods": []}, "pods needs one name per service"),
        ({"bytes_delivered": 999}, "delivered ends at 1000 bytes, bytes_delivered is 999"),
        ({"bytes_delivered": 1000.5}, "bytes_delivered: "),
        ({"delivered": [[1002.0, 5], [1001.0, 1000]]}, "delivered must rise"),
        ({"delivered": [[1002.0, 1005], [1003.0, 1000]]}, "delivered must rise"),
        ({"delivered": [[999.0, 1000]]}, "delivered must rise in time and bytes, from the start"),
        ({"delivered": [[1002.0]]}, r"delivered\.0\.1: "),
        ({"path_class": "none"}, "path_class is 'none'"),
        ({"colour": "red"}, "colour: "),
    ],
)
def test_malformed_lines_are_named(tmp_path: Path, change: dict[str, Any], words: str) -> None:
    good = json.dumps(asdict(ENTRY))
    (tmp_path / "truth.jsonl").write_text(good + "\n\n" + json.dumps({**asdict(ENTRY), **change}) + "\n")
    with pytest.raises(LedgerError, match=rf"truth\.jsonl, line 3: {words}"):
        read_ledger(tmp_path / "truth.jsonl")


def test_lacking_fields_and_broken_json_are_named(tmp_path: Path) -> None:
    row = asdict(ENTRY)
    del row["sha256_sent"]
    (tmp_path / "truth.jsonl").write_text(json.dumps(row))
    with pytest.raises(LedgerError, match="line 1: sha256_sent: Field required"):
        read_ledger(tmp_path / "truth.jsonl")
    (tmp_path / "truth.jsonl").write_text('{"incident": ')
    with pytest.raises(LedgerError, match="line 1: Invalid JSON"):
        read_ledger(tmp_path / "truth.jsonl")


def test_benign_events_have_no_path(tmp_path: Path) -> None:
    event = replace(ENTRY, path_class="benign:backup", path=(), pods=(), bytes_delivered=0, delivered=())
    write_ledger(tmp_path / "truth.jsonl", [event])
    assert read_ledger(tmp_path / "truth.jsonl") == [event]


def test_delivered_at_follows_the_points_and_keeps_pauses() -> None:
    times = np.array([[0.0, 1001.0, 1003.0], [1005.0, 1040.0, 1045.0]])
    assert delivered_at(ENTRY, times).tolist() == [[0.0, 0.0, 200.0], [400.0, 400.0, 650.0]]
    assert delivered_at(ENTRY, 2000).tolist() == 1000.0
    curve = delivered_at(ENTRY, np.linspace(990, 1070, 801))
    assert (np.diff(curve) >= 0).all()


def test_delivered_at_without_points_is_even() -> None:
    assert delivered_at(replace(ENTRY, delivered=()), [1000.5, 1030.25, 1060]).tolist() == [0.0, 500.0, 1000.0]
