"""Packets whose time runs backwards are counted, also from file to file."""

from __future__ import annotations

from pathlib import Path

import pytest

from mimir.capture import open_capture
from mimir.capture.__main__ import main
from tests.capture import capture_samples as s

FRAMES = s.web_frames(20)


def test_packets_out_of_order_are_counted(tmp_path: Path) -> None:
    path = s.save(tmp_path / "x.pcap", s.pcap([*FRAMES[:5], FRAMES[9], *FRAMES[5:9], *FRAMES[9:]]))
    capture = open_capture(path)
    list(capture)
    assert (capture.counts.out_of_order, capture.counts.largest_step_back_ns) == (4, 4_000_000)
    assert (capture.counts.first_ns, capture.counts.last_ns) == (FRAMES[0].ts_ns, FRAMES[-1].ts_ns)


def test_files_that_overlap_are_out_of_order(tmp_path: Path) -> None:
    s.save(tmp_path / "a.pcap", s.pcap(FRAMES[::2]))
    s.save(tmp_path / "b.pcap", s.pcap(FRAMES[1::2]))
    capture = open_capture(tmp_path)
    list(capture)
    assert (capture.counts.out_of_order, capture.counts.largest_step_back_ns) == (9, 17_000_000)


def test_inspect_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = s.save(tmp_path / "x.pcap", s.pcap([FRAMES[1], FRAMES[0]]))
    assert main(["inspect", str(path)]) == 0
    assert "order         1 packets are earlier than one before them" in capsys.readouterr().out
