"""Standard input and pipes are read once and never back; Zstandard and gzip are told by content."""

from __future__ import annotations

import gzip
import os
import subprocess
import sys
from pathlib import Path
from threading import Thread

import pyarrow as pa
import pytest

from mimir.capture import open_capture
from mimir.errors import CaptureError
from tests.capture import capture_samples as s

ROOT = Path(__file__).resolve().parents[2]
FRAMES = s.web_frames(3000)
PCAP = s.pcap(FRAMES)
TIMES = [f.ts_ns for f in FRAMES]
PCAPNG = s.section() + s.interface(tsresol=9) + b"".join(s.enhanced(f, f.ts_ns) for f in FRAMES)


def zstd(content: bytes) -> bytes:
    out = pa.BufferOutputStream()
    with pa.CompressedOutputStream(out, "zstd") as stream:
        stream.write(content)
    return bytes(out.getvalue().to_pybytes())


def times(path: Path) -> list[int]:
    return [t for batch in open_capture(path) for t in batch.ts_ns.tolist()]


@pytest.mark.parametrize("content", [PCAP, PCAPNG])
def test_zstandard_is_read_by_content_not_by_name(tmp_path: Path, content: bytes) -> None:
    assert times(s.save(tmp_path / "x.pcap", zstd(content))) == TIMES
    half = len(content) // 2
    assert times(s.save(tmp_path / "y.pcap", zstd(content[:half]) + zstd(content[half:]))) == TIMES


def test_folders_take_zst_along(tmp_path: Path) -> None:
    s.save(tmp_path / "a.pcap.zst", zstd(s.pcap(FRAMES[:10])))
    s.save(tmp_path / "b.pcap", s.pcap(FRAMES[10:20]))
    assert times(tmp_path) == TIMES[:20]


HALF = len(PCAP) // 2


@pytest.mark.parametrize("rest", [zstd(PCAP[HALF:])[:-20], b"neither a frame nor the end"])
def test_damaged_zstandard_is_read_up_to_there(tmp_path: Path, rest: bytes) -> None:
    capture = open_capture(s.save(tmp_path / "x.zst", zstd(PCAP[:HALF]) + rest), block_bytes=4096)
    rows = sum(len(batch) for batch in capture)
    assert len(FRAMES) // 3 < rows < len(FRAMES)
    (damage,) = capture.counts.damaged
    assert "damaged zstd stream" in damage.reason
    assert damage.unread_bytes is None


def test_zstandard_of_nothing_is_no_capture(tmp_path: Path) -> None:
    with pytest.raises(CaptureError):
        times(s.save(tmp_path / "x.zst", zstd(PCAP)[:12]))


@pytest.mark.parametrize("content", [PCAP, PCAPNG, gzip.compress(PCAP, mtime=0), zstd(PCAPNG)])
def test_a_named_pipe_in_small_pieces(tmp_path: Path, content: bytes) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)

    def feed() -> None:
        with pipe.open("wb", buffering=0) as out:
            for at in range(0, len(content), 1777):
                out.write(content[at : at + 1777])

    writer = Thread(target=feed)
    writer.start()
    assert times(pipe) == TIMES
    writer.join()


@pytest.mark.parametrize("content", [PCAP, zstd(PCAP)])
def test_inspect_reads_standard_input(content: bytes) -> None:
    command = [sys.executable, "-m", "mimir.capture", "inspect", "-"]
    done = subprocess.run(command, cwd=ROOT, input=content, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"packets       3,000" in done.stdout


def test_standard_input_without_a_capture_is_one_line() -> None:
    command = [sys.executable, "-m", "mimir.capture", "inspect", "-"]
    done = subprocess.run(command, cwd=ROOT, input=b"", capture_output=True, check=False)
    assert done.returncode == 2
    assert done.stderr.count(b"\n") == 1
    assert b"empty" in done.stderr


def test_standard_input_comes_alone(tmp_path: Path) -> None:
    with pytest.raises(CaptureError, match="together with files"):
        open_capture(["-", s.save(tmp_path / "x.pcap", PCAP)])
