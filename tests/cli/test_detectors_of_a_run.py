"""Detectors as a user meets them: refused before anything runs, exported, edited, fed back."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from mimir.files import read_json, read_jsonl
from tests.support.cli import ROOT, SMALL, environment, mimir, mimir_here, run_directories


def test_a_detector_that_cannot_be_made_creates_nothing(tmp_path: Path) -> None:
    for arguments, words in (
        (["detector=pyod", "detector.params={neighbours: 3}"], ("no parameter 'neighbours'", "pyod is not installed")),
        (["detector=allowlist", "detector.pinned=absent.csv"], ("detector.pinned names no file",)),
    ):
        done = mimir_here(tmp_path, *SMALL, *arguments)
        assert done.returncode == 2, done.stderr
        assert any(word in done.stderr for word in words)
    assert not run_directories(tmp_path)


@pytest.mark.slow
def test_an_edited_table_changes_the_run_and_is_not_mistaken_for_the_old_one(small_run: Path) -> None:
    plain = mimir_here(small_run, *SMALL, "detector=allowlist")
    assert plain.returncode == 0, plain.stderr
    (directory,) = [d for d in run_directories(small_run) if "-allowlist-" in d.name]
    export = [sys.executable, "-m", "mimir.detectors", "export", str(directory), "--out", "allowed.csv"]
    subprocess.run(export, cwd=small_run, env=environment() | {"PYTHONPATH": str(ROOT)}, check=True, timeout=120)
    table = small_run / "allowed.csv"
    text = table.read_text()
    assert "front-end,user,80,tcp,yes" in text
    command = (*SMALL, "detector=allowlist", "detector.pinned=allowed.csv")
    assert mimir_here(small_run, *command).returncode == 0
    table.write_text(text.replace("front-end,user,80,tcp,yes", "front-end,user,80,tcp,no"))
    edited = mimir_here(small_run, *command)
    assert edited.returncode == 0, edited.stderr
    assert "reused:" not in edited.stderr
    (pinned,) = [d for d in run_directories(small_run) if "-allowlist-" in d.name and d != directory]
    allowed = read_json(pinned / "detector/w60/state.json")["state"]["allowed"]
    assert ["front-end", "user", 80, "tcp"] not in allowed
    assert ["user", "user-db", 27017, "tcp"] in allowed
    assert "reused:" in mimir_here(small_run, *command).stderr


@pytest.mark.slow
def test_a_forbidden_edge_raises_alerts_and_an_allowed_one_silences_them(small_run: Path) -> None:
    """A person reads the table of the invariants, edits two lines, and the next run follows them."""
    base = (*SMALL, "exfiltration=direct", "detector.families=[I1,I6]", "detector.windows_s=[60]")
    first = mimir_here(small_run, *base)
    assert first.returncode == 0, first.stderr
    (directory,) = [d for d in run_directories(small_run) if "-direct-invariants-" in d.name]
    alerts = read_jsonl(directory / "alerts.jsonl")
    broken = {(r["client"], r["server"], r["server_port"]) for a in alerts for r in a["reasons"] if r["family"] == "I1"}
    (leak,) = [edge for edge in broken if edge[0] == "user-db" and edge[1].startswith("outside:")]
    export = [sys.executable, "-m", "mimir.detectors", "export", str(directory), "--out", "table.csv"]
    subprocess.run(export, cwd=small_run, env=environment() | {"PYTHONPATH": str(ROOT)}, check=True, timeout=900)
    table = small_run / "table.csv"
    text, cells = table.read_text(encoding="utf-8"), ",".join(str(cell) for cell in leak)
    usual = ",I1,edge,front-end,user,80,tcp,,yes,,"
    assert usual in text
    table.write_text(text + f",I1,edge,{cells},tcp,,yes,,\n,I6,name outside,{cells},tcp,,yes,,\n", encoding="utf-8")
    pinned = (*base, "detector.pinned=table.csv")
    allowed = mimir_here(small_run, *pinned)
    assert allowed.returncode == 0, allowed.stderr
    (other,) = [d for d in run_directories(small_run) if "-direct-invariants-" in d.name and d != directory]
    assert not [a for a in read_jsonl(other / "alerts.jsonl") if a["reasons"][0]["server"] == leak[1]]
    table.write_text(text.replace(usual, usual.replace("yes", "no")), encoding="utf-8")
    forbidden = mimir_here(small_run, *pinned)
    assert forbidden.returncode == 0, forbidden.stderr
    state = read_json(other / "detector/w60/state.json")["state"]["families"]["I1"]["allowed"]
    assert ["front-end", "user", 80, "tcp"] not in state
    assert any(a["reasons"][0]["server"] == leak[1] for a in read_jsonl(other / "alerts.jsonl"))
    table.write_text(text.replace(usual, usual.replace("yes", "perhaps")), encoding="utf-8")
    wrong = mimir_here(small_run, *pinned)
    assert wrong.returncode == 2
    assert "table.csv, line" in wrong.stderr
    assert "allow must be yes or no (got 'perhaps')" in wrong.stderr


@pytest.mark.slow
def test_a_supervised_detector_learns_from_a_recording_of_its_own(tmp_path: Path) -> None:
    """Four recordings side by side; what it is shown is neither in the scores nor among the incidents that are judged."""
    training = ("evaluation.train_s=1800", "evaluation.train.incidents=3", "evaluation.train.incident_duration_s=120",
                "evaluation.train.gap_s=60")  # fmt: skip
    words = (*SMALL, "detector=mimir_lasso", "detector.windows_s=[60]", "exfiltration=direct", *training)
    done = mimir(tmp_path, *words, "workers=2")
    assert done.returncode == 0, done.stderr
    (directory,) = run_directories(tmp_path)
    assert [one["name"] for one in read_json(directory / "plan.json")["recordings"]] == [
        "train",
        "fit",
        "calibrate",
        "test",
    ]
    truth = read_jsonl(directory / "truth.jsonl")
    paths = {
        recording: {tuple(row["path"]) for row in truth if row["recording"] == recording}
        for recording in ("train", "test")
    }
    assert paths["train"]
    assert not paths["train"] & paths["test"]
    metrics = read_json(directory / "metrics.json")
    tested = {row["incident"] for row in truth if row["recording"] == "test"}
    assert {row["incident"] for row in metrics["incidents"]} == tested
    assert metrics["windows"]["60"]["overall"]["average_precision"]["value"] is not None
    again = mimir_here(tmp_path, *words)
    assert "reused:" in again.stderr
