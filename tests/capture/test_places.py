"""Commands never write into what they read, and count nothing twice."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from threading import Thread

import pytest

from mimir.capture.__main__ import main as capture_main
from mimir.capture.places import check_places
from mimir.errors import CaptureError
from mimir.flows.__main__ import main as flows_main
from tests.capture import capture_samples as s


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "set").mkdir()
    for number in range(2):
        s.save(tmp_path / "set" / f"any.pcap{number}", s.pcap(s.web_frames(5, number * 10**9)))
    return tmp_path


OUTS: dict[str, Callable[[Path], Path]] = {
    "same": lambda f: f / "set" / "any.pcap1",
    "spelling": lambda f: f / "set" / ".." / "set" / "any.pcap1",
    "symlink": lambda f: link(f / "link.pcap", f / "set" / "any.pcap1", os.symlink),
    "hard link": lambda f: link(f / "hard.pcap", f / "set" / "any.pcap1", os.link),
}


def link(name: Path, target: Path, make: Callable[[Path, Path], None]) -> Path:
    make(target, name)
    return name


@pytest.mark.parametrize("out", OUTS)
@pytest.mark.parametrize("inputs", ["set/any.pcap1", "set/any.pcap0 set/any.pcap1", "set", "set/any.pcap*"])
def test_an_input_is_never_overwritten(folder: Path, inputs: str, out: str, capsys: pytest.CaptureFixture[str]) -> None:
    names, target = [str(folder / name) for name in inputs.split()], str(OUTS[out](folder))
    before = {path: path.read_bytes() for path in folder.rglob("*.pcap*")}
    for command, main in (("edges", flows_main), ("export", flows_main), ("fields", capture_main)):
        assert main([command, *names, "--out", target]) == 2
        assert "it would be overwritten" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in folder.rglob("*.pcap*")} == before


def test_an_output_that_would_become_an_input_is_refused(folder: Path) -> None:
    for sources, out in (([folder / "set"], "set/new.pcap"), ([folder / "set/any.*"], "set/any.parquet")):
        with pytest.raises(CaptureError, match="would be read as a capture"):
            check_places(sources, folder / out)
    with pytest.raises(CaptureError, match="is a folder"):
        check_places([folder / "set"], folder)
    with pytest.raises(CaptureError, match="would be overwritten"):
        check_places([folder / "set"], folder / "set/any.pcap0", [None])
    entities = s.save(folder / "entities.jsonl", b"")
    with pytest.raises(CaptureError, match="would be overwritten"):
        check_places([folder / "set"], entities, [entities])
    check_places([folder / "set"], folder / "set" / "edges.parquet", [None])


def test_nothing_is_counted_twice(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one = folder / "set/any.pcap1"
    for again in (one, folder / "set", link(folder / "link.pcap", one, os.symlink), folder / "set/any.*"):
        with pytest.raises(CaptureError, match="is given twice"):
            check_places([one, again])
    assert capture_main(["inspect", str(one), str(one)]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_a_file_still_being_written_is_followed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    content = s.pcap(s.web_frames(20))
    for main, command in ((capture_main, ["inspect"]), (flows_main, ["edges", "--out", str(tmp_path / "e.parquet")])):
        path = s.save(tmp_path / "x.pcap", content[:700])

        def write(path: Path = path) -> None:
            time.sleep(0.2)
            with path.open("ab") as file:
                file.write(content[700:])

        writer = Thread(target=write)
        writer.start()
        assert main([*command, str(path), "--follow", "--idle-s", "0.7"]) == 0
        writer.join()
        out = capsys.readouterr().out
        assert "packets       20" in out or "20 packets of 1 captures" in out


def test_fields_without_a_hit_say_so(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert capture_main(["fields", str(folder / "set")]) == 0
    assert "no packet has one of the fields dns.flags.response" in capsys.readouterr().err
