"""Detectors as a user meets them: refused before anything runs, exported, edited, fed back."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from mimir.files import read_json
from tests.support.cli import ROOT, SMALL, environment, mimir, run_directories


def test_a_detector_that_cannot_be_made_creates_nothing(tmp_path: Path) -> None:
    for arguments, words in (
        (["detector=pyod", "detector.params={neighbours: 3}"], ("no parameter 'neighbours'", "pyod is not installed")),
        (["detector=allowlist", "detector.pinned=absent.csv"], ("detector.pinned names no file",)),
    ):
        done = mimir(tmp_path, *SMALL, *arguments)
        assert done.returncode == 2, done.stderr
        assert any(word in done.stderr for word in words)
    assert not run_directories(tmp_path)


@pytest.mark.slow
def test_an_edited_table_changes_the_run_and_is_not_mistaken_for_the_old_one(small_run: Path) -> None:
    plain = mimir(small_run, *SMALL, "detector=allowlist")
    assert plain.returncode == 0, plain.stderr
    (directory,) = [d for d in run_directories(small_run) if "-allowlist-" in d.name]
    export = [sys.executable, "-m", "mimir.detectors", "export", str(directory), "--out", "allowed.csv"]
    subprocess.run(export, cwd=small_run, env=environment() | {"PYTHONPATH": str(ROOT)}, check=True, timeout=120)
    table = small_run / "allowed.csv"
    text = table.read_text()
    assert "front-end,user,80,tcp,yes" in text
    command = (*SMALL, "detector=allowlist", "detector.pinned=allowed.csv")
    assert mimir(small_run, *command).returncode == 0
    table.write_text(text.replace("front-end,user,80,tcp,yes", "front-end,user,80,tcp,no"))
    edited = mimir(small_run, *command)
    assert edited.returncode == 0, edited.stderr
    assert "reused:" not in edited.stderr
    (pinned,) = [d for d in run_directories(small_run) if "-allowlist-" in d.name and d != directory]
    allowed = read_json(pinned / "detector/w60/state.json")["state"]["allowed"]
    assert ["front-end", "user", 80, "tcp"] not in allowed
    assert ["user", "user-db", 27017, "tcp"] in allowed
    assert "reused:" in mimir(small_run, *command).stderr
