"""What `invariants` learned as a table: exported, edited, fed back; each wrong line named with what is allowed."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest

from mimir.detectors.__main__ import main
from mimir.detectors.invariants import Invariants
from mimir.detectors.invariants.pinned import read_rows
from mimir.detectors.invariants.table import COLUMNS
from mimir.detectors.registry import load_detector, save_state
from mimir.errors import SpecError
from tests.support.few_edges import few
from tests.support.toyshop import Toy, benign, key, shop, to_series

HEAD = ",".join(COLUMNS)
FIT = shop(Toy(60))


@pytest.fixture(scope="module")
def fitted() -> Invariants:
    return Invariants().fit(FIT)


def table_of(detector: Invariants, folder: Path) -> Path:
    save_state(detector, folder / "detector" / "w60")
    assert main(["export", str(folder), "--format", "table", "--out", str(folder / "table.csv")]) == 0
    return folder / "table.csv"


def test_an_unedited_table_changes_nothing_and_csv_and_json_say_the_same(fitted: Invariants, tmp_path: Path) -> None:
    path = table_of(fitted, tmp_path)
    again = Invariants(pinned=str(path)).fit(FIT)
    windows = shop(Toy(30, seed=2))
    assert again.score(windows).score.tolist() == fitted.score(windows).score.tolist()
    rows = list(csv.DictReader(io.StringIO(path.read_text(encoding="utf-8"))))
    assert {row["family"] for row in rows} == {"I1", "I2", "I3", "I4", "I5", "I6"}
    assert main(["export", str(tmp_path), "--out", str(tmp_path / "table.json")]) == 0
    as_json = json.loads((tmp_path / "table.json").read_text(encoding="utf-8"))
    assert [{k: str(v) for k, v in row.items()} for row in as_json] == rows
    assert [row[1:] for row in read_rows(tmp_path / "table.json")] == [row[1:] for row in read_rows(path)]
    save_state(again, tmp_path / "kept")
    assert load_detector(tmp_path / "kept").get_params()["pinned"] == str(path)


def test_edges_are_allowed_and_forbidden_by_hand(tmp_path: Path) -> None:
    table = tmp_path / "edges.csv"
    lines = ["I1,edge,a,outside:x,80,tcp,yes", "I6,name outside,a,outside:x,80,tcp,yes", "I1,edge,a,b,80,tcp,no"]
    table.write_text("\n".join(["family,kind,client,server,server_port,proto,allow", *lines]))
    training = few({("a", "b"): [500.0] * 20, ("b", "c"): [500.0] * 20})
    test = few({("a", "b"): [0.0, 500.0, 0.0], ("b", "c"): [500.0] * 3, ("a", "outside:x"): [500.0, 0.0, 0.0]})
    plain = Invariants(families=["I1", "I6"]).fit(training).score(test).score
    edited = Invariants(families=["I1", "I6"], pinned=str(table)).fit(training).score(test).score
    assert [bool(score > edited[2]) for score in edited] == [False, True, False]
    assert [bool(score > plain[2]) for score in plain] == [True, False, False]


def test_coefficients_and_limits_are_taken_over(fitted: Invariants, tmp_path: Path) -> None:
    path = table_of(fitted, tmp_path)
    rows = list(csv.DictReader(io.StringIO(path.read_text(encoding="utf-8"))))
    wanted = {("I3", "constant"): 1e6, ("I3", "noise"): 123.0, ("I6", ""): 77.0}
    for row in rows:
        key = (row["family"], row["cause"])
        if key in wanted and row["kind"] in ("response_payload_bytes, own", "longest name"):
            row["value"] = str(wanted[key])
    with path.open("w", encoding="utf-8", newline="") as out:
        writer = csv.DictWriter(out, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)
    states = Invariants(pinned=str(path)).fit(FIT).state()["families"]
    chosen = [i for i in states["I3"]["invariants"] if i["target"][1:] == ["response_payload_bytes", "own"]]
    assert chosen
    assert all(i["beta"][0] == 1e6 and i["s0_squared"] == 123.0**2 for i in chosen)
    assert states["I6"]["longest"] == 77.0
    other = Invariants(pinned=str(path)).fit(shop(Toy(60, window_s=10))).state()["families"]["I3"]["invariants"]
    assert not any(np.isclose(i["beta"][0], 1e6) for i in other), "rows of 60 s windows are for those"


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (",I9,edge,a,b,80,tcp,,yes,,", ["line 2: family is unknown (got 'I9')", "allowed: I1, I2"]),
        (",I1,edge,a,b,80,tcp,,maybe,,", ["line 2: allow must be yes or no (got 'maybe')"]),
        (",I1,edge,a,b,http,tcp,,yes,,", ["line 2: server_port is no port (got 'http')", "0 … 65535"]),
        (",I1,edge,a,,80,tcp,,yes,,", ["line 2: lacks client, server"]),
        (",I6,longest name,,,,,,,long,", ["line 2: value is no such number (got 'long')"]),
        (",I6,longest name,,,,,,yes,3,", ["line 2: allow has no meaning for I6, longest name"]),
        ("soon,I6,longest name,,,,,,,3,", ["line 2: window_s is no such number (got 'soon')", "≥ 1"]),
        (",I1,edge,a,b,80,tcp,,yes,,,,", ["line 2: has a cell too many"]),
        (",I1,edge,a,b,80,tcp,,yes,,\n,I1,edge,a,b,80,tcp,,no,,", ["line 3: says otherwise than", "line 2"]),
    ],
)
def test_a_wrong_line_is_named(tmp_path: Path, line: str, words: list[str]) -> None:
    path = tmp_path / "t.csv"
    path.write_text(f"{HEAD}\n{line}\n")
    with pytest.raises(SpecError) as caught:
        Invariants(pinned=str(path)).check()
    assert all(word in str(caught.value) for word in [str(path), *words]), str(caught.value)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (",I6,longest name,,,,,,,-1,", ["line 2: value is too small (got -1)", "≥ 0"]),
        (",I6,longest nam,,,,,,,3,", ["line 2: training showed no I6 longest nam", "I6 longest name"]),
    ],
)
def test_what_training_cannot_confirm_is_said_after_it(tmp_path: Path, line: str, words: list[str]) -> None:
    path = tmp_path / "t.csv"
    path.write_text(f"{HEAD}\n{line}\n")
    with pytest.raises(SpecError) as caught:
        Invariants(families=["I6"], pinned=str(path)).fit(FIT)
    assert all(word in str(caught.value) for word in words), str(caught.value)


def test_no_file_and_no_table(tmp_path: Path) -> None:
    (tmp_path / "t.json").write_text('{"a": 1')
    (tmp_path / "five.json").write_text("5")
    (tmp_path / "list.json").write_text("[1]")
    for name, words in (
        ("absent.csv", "names no file"),
        ("t.json", "is no table"),
        ("five.json", "no list of rows"),
        ("list.json", "line 1.*no row"),
    ):
        with pytest.raises(SpecError, match=words):
            read_rows(tmp_path / name)


def test_names_are_explained_by_connections_however_many_entries_there_are(tmp_path: Path) -> None:
    toy = Toy(60)
    rows = benign(toy)
    rows[key("outside:users", "catalogue")] = {
        name: values.copy() for name, values in rows[key("outside:users", "front-end")].items()
    }
    training = to_series(rows, toy, FIT.workloads, None)
    path = table_of(Invariants(families=["I6"]).fit(training), tmp_path)
    found = [row for row in csv.DictReader(io.StringIO(path.read_text(encoding="utf-8"))) if row["kind"] == "DNS names"]
    assert {row["cause"]: row["unit"] for row in found} == {
        "constant": "bytes a window", "connections the pod opened": "bytes a connection", "noise": "σ in bytes",
    }  # fmt: skip
    Invariants(families=["I6"], pinned=str(path)).fit(training)


def test_what_is_said_of_one_window_length_counts_whatever_stands_first(tmp_path: Path) -> None:
    found = []
    for name, lines in (("a", ["60,77", ",5"]), ("b", [",5", "60,77"])):
        (tmp_path / f"{name}.csv").write_text(
            "\n".join(["family,kind,window_s,value", *(f"I6,longest name,{line}" for line in lines)])
        )
        made = Invariants(families=["I6"], pinned=str(tmp_path / f"{name}.csv")).fit(FIT)
        found.append(made.state()["families"]["I6"]["longest"])
    assert found == [77.0, 77.0]
