"""`python -m mimir.detectors`: exports of a run, the edited table coming back, cold start."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest
import yaml

from mimir.detectors.__main__ import main
from mimir.detectors.allowlist import Allowlist
from mimir.detectors.base import Detector
from mimir.detectors.cold_start import cold_start
from mimir.detectors.egress_volume import EgressVolume
from mimir.detectors.invariants import Invariants
from mimir.detectors.pinned import read_pinned
from mimir.detectors.registry import save_state
from mimir.errors import MimirError
from mimir.files import write_jsonl
from mimir.flows.edges import EdgeKey
from tests.detectors.test_policies import events
from tests.support.few_edges import few
from tests.support.toyshop import Toy, shop

FIT = few(
    {("front-end", "user"): [1.0, 1.0], ("user", "user-db"): [0.0, 1.0], ("user", "outside:198.51.100.7"): [1.0, 0.0]}
)


def run_with(folder: Path, detector: Detector) -> Path:
    save_state(detector, folder / "detector" / "w60")
    write_jsonl(folder / "entities.jsonl", events())
    return folder


def rows_of(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_the_table_can_be_edited_and_fed_back(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "allowed.csv"
    assert main(["export", str(run_with(tmp_path, Allowlist().fit(FIT))), "--out", str(file)]) == 0
    assert set(read_pinned(file)) == set(Allowlist().fit(FIT).allowed)
    edited = [line.replace("yes", "no") if "198.51" in line else line for line in file.read_text().splitlines()]
    file.write_text("\n".join([*edited, "user,outside:new,443,tcp,yes"]))
    detector = Allowlist(pinned=str(file)).fit(FIT)
    windows = few({("user", "outside:198.51.100.7"): [5.0], ("front-end", "user"): [7.0]})
    assert detector.score(windows).score.tolist() == [5.0], "forbidden by hand"
    assert EdgeKey("user", "outside:new", 443, "tcp") in detector.allowed
    as_json = tmp_path / "allowed.json"
    as_json.write_text(json.dumps(rows_of(file.read_text())))
    assert read_pinned(as_json) == read_pinned(file)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("client,server\na,b\n", "row 1 lacks server_port, proto, allow"),
        ("client,server,server_port,proto,allow\na,b,80,tcp,maybe\n", "row 1: allow must be yes or no"),
        (
            "client,server,server_port,proto,allow\na,b,http,tcp,yes\n",
            r"server_port must lie in 0 … 65535 \(got 'http'\)",
        ),
        ("client,server,server_port,proto,allow\na,b,80,tcp,yes\na,b,80,tcp,no\n", "row 2: .* both allowed and not"),
    ],
)
def test_a_wrong_table_says_where(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(MimirError, match=words):
        Allowlist(pinned=str(tmp_path / "t.csv")).check()
    with pytest.raises(MimirError, match="names no file"):
        Allowlist(pinned=str(tmp_path / "absent.csv")).check()


@pytest.mark.parametrize("name", ["networkpolicy", "cilium"])
def test_policies_are_yaml_documents(tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
    assert main(["export", str(run_with(tmp_path, Allowlist().fit(FIT))), "--format", name]) == 0
    made = list(yaml.safe_load_all(capsys.readouterr().out))
    assert {p["kind"] for p in made} == {"NetworkPolicy" if name == "networkpolicy" else "CiliumNetworkPolicy"}
    assert len(made) == 4


def test_invariants_export_their_closed_set(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = run_with(tmp_path, Invariants(families=["I1"]).fit(shop(Toy(30))))
    assert main(["export", str(run), "--format", "networkpolicy"]) == 0
    text = capsys.readouterr().out
    assert "mimir-user-db" in text


def test_json_shows_everything_learned(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", str(run_with(tmp_path, EgressVolume().fit(FIT))), "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["state"]["usual_bytes"] == [0.5]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["export"], "egress_volume learns no closed set"),
        (["export", "--window", "10"], r"no detector was fitted for windows of 10 s \(fitted: \[60\]\)"),
        (["coldstart"], "timeline.jsonl is missing"),
    ],
)
def test_what_cannot_be_done_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], words: str
) -> None:
    import re

    run = run_with(tmp_path, EgressVolume().fit(FIT))
    assert main([arguments[0], str(run), *arguments[1:]]) == 2
    assert re.search(words, capsys.readouterr().err)
    assert main([arguments[0], str(tmp_path / "nothing")]) == 2


def test_cold_start_by_hand() -> None:
    """a → b from the start, a → c first seen in window 3 of training; the benign recording uses c twice and d once."""
    training = few({("a", "b"): [1.0] * 4, ("a", "c"): [0.0, 0.0, 1.0, 0.0]})
    benign = few({("a", "b"): [1.0] * 5, ("a", "c"): [0.0, 1.0, 1.0, 0.0, 0.0], ("a", "d"): [0.0, 0.0, 1.0, 0.0, 0.0]})
    found = {c.training_s: c for c in cold_start(training, benign, [1, 2, 3, 4])}
    assert [found[s].violations for s in (60, 120, 180, 240)] == [2, 2, 1, 1]
    assert [found[s].new_edges for s in (60, 120, 180, 240)] == [2, 2, 1, 1]
    assert [found[s].allowed for s in (60, 240)] == [1, 2]
    assert found[60].rate == pytest.approx(0.4)
    assert found[60].per_day(60) == pytest.approx(0.4 * 1440)


def test_more_training_never_breaks_more() -> None:
    rates = [c.violations for c in cold_start(shop(Toy(60, seed=1)), shop(Toy(60, seed=2)))]
    assert (np.diff(rates) <= 0).all()
    assert rates[-1] == 0
