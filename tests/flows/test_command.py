"""`python -m mimir.flows`: what captures did not give is said, and what cannot be is refused with exit code 2."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from mimir.flows.__main__ import main
from tests.capture import capture_samples as s
from tests.flows.flow_samples import POD, Leg, conversation, http

LEGS = [Leg(("10.0.0.1", 40_000), POD, 3), Leg(("10.0.0.1", 40_000), POD, 4)]


@pytest.fixture
def capture(tmp_path: Path) -> Path:
    return s.save(tmp_path / "x.pcap", s.pcap(s.web_frames()))


@pytest.mark.parametrize("command", ["edges", "export"])
def test_damage_skips_and_copies_are_said(tmp_path: Path, command: str, capsys: pytest.CaptureFixture[str]) -> None:
    frames = conversation(LEGS, http())
    arp = s.Frame(frames[-1].ts_ns, s.sll2(s.ARP, 0x0806))
    path = s.save(tmp_path / "x.pcap", s.pcap([*frames, arp], s.SLL2) + b"torn")
    assert main([command, str(path), "--out", str(tmp_path / "out.parquet")]) == 0
    said = capsys.readouterr()
    assert "1 packets, 48 B: not IP; first at byte" in said.err
    assert f"damaged: {path} at byte {path.stat().st_size - 4}: the file ends inside a record" in said.err
    assert f"copies removed: {len(frames) // 2} packets" in said.err
    assert "by the rule interface" in said.err
    assert f"{len(frames) + 1} packets" in said.out


@pytest.mark.parametrize(
    "options",
    [
        "--timeout-s nan", "--timeout-s inf", "--timeout-s 1e12", "--timeout-s 0", "--windows-s 99999999999",
        "--windows-s 0", "--windows-s 1.5", "--workers 0", "--workers -5", "--scheduler tcp://127.0.0.1:1",
        "--follow --idle-s nan", "--follow other.pcap",
    ],
)  # fmt: skip
def test_impossible_options_are_refused(capture: Path, options: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(["edges", str(capture), "--out", str(capture.with_name("e.parquet")), *options.split()])
    assert left.value.code == 2
    assert "error: " in capsys.readouterr().err.splitlines()[-1]


def test_export_refuses_them_too(capture: Path, tmp_path: Path) -> None:
    for options in (["--timeout-s", "nan"], ["--active-s", "-1"]):
        with pytest.raises(SystemExit) as left:
            main(["export", str(capture), "--out", str(tmp_path / "f.parquet"), *options])
        assert left.value.code == 2


@pytest.mark.parametrize("command", ["edges", "export"])
def test_what_cannot_be_written_or_read_is_one_line(
    capture: Path, tmp_path: Path, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    pickle = s.save(tmp_path / "x.pkl", b"\x80\x04K\x01.")
    flows = s.save(tmp_path / "conn.log", gzip.compress(b"#separator \\x09\n#fields\tts\tuid\tid.orig_h\n"))
    out = ["--out", str(tmp_path / "out.parquet")]
    for arguments, reason in (
        ([str(capture), "--out", str(tmp_path)], "is a folder"),
        ([str(capture), "--out", str(capture / "out.parquet")], "is a file, not a folder"),
        ([str(capture), *out, "--entities", str(pickle)], "is no text; give entities.jsonl or a table"),
        ([str(flows), *out], "cluster=recorded cluster.capture="),
        ([str(capture), str(capture), *out], "is given twice"),
    ):
        assert main([command, *arguments]) == 2
        error = capsys.readouterr().err
        assert reason in error
        assert error.count("\n") == 1
    assert not (tmp_path / "out.parquet").exists()
