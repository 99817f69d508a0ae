from __future__ import annotations

from pathlib import Path

from mimir.files import read_json
from mimir.pipeline.run_directory import RunDirectory, environment


def stage(directory: RunDirectory, calls: list[str], part: int = 1) -> None:
    def make() -> list[str]:
        calls.append("made")
        (directory.path / "out.json").write_text("{}")
        return ["out.json"]

    directory.stage("example", ("units.py",), part, ["in.json"], make)


def test_stage_is_skipped_until_something_changes(tmp_path: Path) -> None:
    directory, calls = RunDirectory(tmp_path / "run"), []
    (directory.path / "in.json").write_text("1")
    stage(directory, calls)
    stage(directory, calls)
    assert calls == ["made"]
    assert directory.status["stages"]["example"]["reused"]
    stage(directory, calls, part=2)
    assert len(calls) == 2
    (directory.path / "out.json").write_text("changed by hand")
    stage(directory, calls, part=2)
    assert len(calls) == 3
    (directory.path / "in.json").write_text("2")
    stage(directory, calls, part=2)
    assert len(calls) == 4


def test_finished_only_when_done_by_this_code_and_whole(tmp_path: Path) -> None:
    directory = RunDirectory(tmp_path / "run")
    (directory.path / "metrics.json").write_text("{}")
    directory.write_manifest({})
    assert not directory.finished("c1")
    directory.update(state="done", code="c1")
    assert RunDirectory(directory.path).finished("c1")
    assert not RunDirectory(directory.path).finished("c2")
    (directory.path / "metrics.json").unlink()
    assert not directory.finished("c1")


def test_manifest_lists_every_file_but_itself(tmp_path: Path) -> None:
    directory = RunDirectory(tmp_path / "run")
    (directory.path / "capture").mkdir()
    (directory.path / "capture" / "fit.pcap").write_bytes(b"abc")
    directory.update(state="running")
    directory.write_manifest({"capture/fit.pcap": "known"})
    manifest = read_json(directory.path / "manifest.json")["files"]
    assert manifest == {"capture/fit.pcap": {"sha256": "known", "bytes": 3, "seconds": None}}


def test_environment_names_versions_and_code() -> None:
    facts = environment()
    assert facts["packages"]["numpy"]
    assert len(facts["code"]) == 16
