"""`python -m mimir.capture inspect`: a report for people, exit code 2 and one line when a file is no capture."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from mimir.capture.__main__ import main
from tests.capture import capture_samples as s

ROOT = Path(__file__).resolve().parents[2]


def test_the_report_says_what_is_there_and_what_was_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    frames = [*s.web_frames(), s.Frame(1_700_000_009_000_000_000, s.ethernet(s.ARP, 0x0806))]
    path = s.save(tmp_path / "some.pcap", s.pcap(frames) + b"torn")
    assert main(["inspect", str(path)]) == 0
    text = capsys.readouterr().out
    for line in (
        "  packets       21",
        "  IP packets    20",
        "  first         2023-11-14 22:13:20.000000000 UTC",
        "  duration      9 s (9.000000 s)",
        "  average rate  2.3 packets/s, 146 B/s",
        "  link types    EN10MB (21)",
        "  10.0.0.1 <-> 10.0.0.2     990 B",
        "  tcp 80               990 B",
        f"  1 packets, 42 B: not IP; first at byte 1424 of {path}",
        f"  damaged: {path} at byte 1482: the file ends inside a record (4 bytes of it are there), 4 B not read",
    ):
        assert line in text.splitlines()
    assert "cut short" in text


def test_interfaces_are_listed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    packet = s.ipv6("2001:db8::1", "2001:db8::2", 17, s.udp(1, 2))
    frames = [s.Frame(i, s.sll2(packet, 0x86DD, ifindex=3 + i)) for i in range(2)]
    assert main(["inspect", str(s.save(tmp_path / "x.pcap", s.pcap(frames, s.SLL2)))]) == 0
    text = capsys.readouterr().out
    assert "  interfaces    3, 4" in text
    assert "2001:db8::1 <-> 2001:db8::2" in text


def test_nodes_are_told_apart(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for node, count in (("node-1", 20), ("node-2", 7)):
        (tmp_path / node).mkdir()
        s.save(tmp_path / node / "any.pcap0", s.pcap(s.web_frames(count)))
    assert main(["inspect", str(tmp_path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "  node-1            20 packets   1.27 kB  1 files" in lines
    assert "  node-2             7 packets     399 B  1 files" in lines


@pytest.mark.parametrize("content", [b"", b"no capture at all", b"\xd4\xc3\xb2\xa1"])
def test_no_capture_is_exit_code_2_and_one_line(tmp_path: Path, content: bytes) -> None:
    path = s.save(tmp_path / "x.pcap", content)
    command = [sys.executable, "-m", "mimir.capture", "inspect", str(path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert str(path) in done.stderr
