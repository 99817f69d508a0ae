from __future__ import annotations

import multiprocessing
import os
from pathlib import Path

import pytest

from mimir.pipeline.cache import cached, link, stage_key


def write(folder: Path, text: str = "x") -> dict[str, object]:
    (folder / "out.txt").write_text(text)
    return {"lines": 1}


def test_second_call_reuses_the_first(tmp_path: Path) -> None:
    calls = []

    def make(folder: Path) -> dict[str, object]:
        calls.append(folder)
        return write(folder)

    first, second = cached(tmp_path, "s", "k", make), cached(tmp_path, "s", "k", make)
    assert len(calls) == 1
    assert (first.reused, second.reused) == (False, True)
    assert (
        first.files == second.files == {"out.txt": "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881"}
    )
    assert second.facts == {"lines": 1}


def test_missing_file_is_made_again_unless_it_may_be_gone(tmp_path: Path) -> None:
    result = cached(tmp_path, "s", "k", write)
    (result.folder / "out.txt").unlink()
    assert cached(tmp_path, "s", "k", write, keep=False).reused
    assert not cached(tmp_path, "s", "k", write).reused


def test_failure_leaves_nothing_and_can_be_repeated(tmp_path: Path) -> None:
    def fail(folder: Path) -> dict[str, object]:
        (folder / "half.txt").write_text("half")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        cached(tmp_path, "s", "k", fail)
    assert not [p for p in tmp_path.iterdir() if p.is_dir()]
    assert not cached(tmp_path, "s", "k", write).reused


def test_leftovers_of_a_killed_process_are_removed(tmp_path: Path) -> None:
    stale = tmp_path / ".s-k.tmp-dead"
    stale.mkdir()
    cached(tmp_path, "s", "k", write)
    assert not stale.exists()


def _count(root: Path) -> None:
    def make(folder: Path) -> dict[str, object]:
        with (root / "calls").open("a") as out:
            out.write(f"{os.getpid()}\n")
        return write(folder)

    cached(root / "cache", "s", "k", make)


def test_processes_that_want_the_same_result_make_it_once(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_count, args=(tmp_path,)) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
        assert process.exitcode == 0
    assert len((tmp_path / "calls").read_text().split()) == 1


def test_key_depends_on_code_spec_and_inputs() -> None:
    base = stage_key("edges", ("flows",), {"w": 60}, {"a": "1"})
    assert base == stage_key("edges", ("flows",), {"w": 60}, {"a": "1"})
    others = [
        stage_key("edges", ("detectors",), {"w": 60}, {"a": "1"}),
        stage_key("edges", ("flows",), {"w": 10}, {"a": "1"}),
        stage_key("edges", ("flows",), {"w": 60}, {"a": "2"}),
    ]
    assert len({base, *others}) == 4


def test_link_replaces_what_was_there(tmp_path: Path) -> None:
    source, target = tmp_path / "a", tmp_path / "run" / "b"
    source.write_text("new")
    target.parent.mkdir()
    target.write_text("old")
    link(source, target)
    assert target.read_text() == "new"
    target.unlink()
    assert source.read_text() == "new"
