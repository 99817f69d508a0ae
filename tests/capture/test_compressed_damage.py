"""Damaged, cut and odd archives: everything that unpacks is used, and the rest is reported."""

from __future__ import annotations

import gzip
import io
import os
import threading
import zlib
from contextlib import suppress
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from mimir.capture import CaptureCounts, open_capture
from mimir.capture.file_reader import BLOCK_BYTES
from mimir.capture.gunzip import Gunzip
from mimir.errors import CaptureError
from tests.capture import capture_samples as s

FRAMES = s.web_frames(2600)
PLAIN = s.pcap(FRAMES)
RECORD = 16 + len(FRAMES[0].data)


def zstd(data: bytes) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as out:
        out.write(data)
    return bytes(sink.getvalue())


def noise(size: int) -> bytes:
    return np.random.default_rng(5).bytes(size)


def read(path: Path, block_bytes: int = BLOCK_BYTES) -> tuple[int, CaptureCounts]:
    capture = open_capture(path, block_bytes=block_bytes)
    return sum(map(len, capture)), capture.counts


@pytest.mark.parametrize("pack", [gzip.compress, zstd])
@pytest.mark.parametrize("damage", ["less one byte", "behind it", "whole"])
def test_what_unpacks_is_read(tmp_path: Path, pack: object, damage: str) -> None:
    packed = pack(PLAIN)  # type: ignore[operator]
    content = {"less one byte": packed[:-1], "behind it": packed + b"garbage behind it", "whole": packed}[damage]
    rows, counts = read(s.save(tmp_path / "x.pcap.z", content))
    # a block of Zstandard is there or it is not; the first one has 128 KiB
    assert rows == (2600 if pack is gzip.compress or damage != "less one byte" else ((1 << 17) - 24) // RECORD)
    assert len(counts.damaged) == (damage != "whole")
    assert all(d.reason.startswith("damaged ") for d in counts.damaged)


def test_a_wrong_byte_costs_what_stands_behind_it(tmp_path: Path) -> None:
    """Stored blocks: the header behind the first one is made wrong."""
    content = bytearray(gzip.compress(PLAIN, 0))
    size = int.from_bytes(content[11:13], "little")
    content[10 + 5 + size] = 7  # a block type that is none
    path = s.save(tmp_path / "x.pcap.gz", bytes(content))
    for block_bytes in (1 << 18, 100):
        rows, counts = read(path, block_bytes=block_bytes)
        assert rows == (size - 24) // RECORD > 500
        assert counts.damaged[0].offset == size


def test_members_padding_and_pieces_of_gzip() -> None:
    packed = gzip.compress(PLAIN[:5000]) + bytes(600) + gzip.compress(PLAIN[5000:]) + bytes(3)
    for size in (1, 17, 4096, 1 << 20):
        stream, room, out = Gunzip(io.BytesIO(packed)), memoryview(bytearray(size)), bytearray()  # type: ignore[arg-type]
        while got := stream.readinto(room):
            out += room[:got]
            if size == 1 and len(out) == 6000:
                break
        assert out == PLAIN[: len(out)]
        assert len(out) == (6000 if size == 1 else len(PLAIN))


def test_output_that_waits_within_zlib_is_not_forgotten() -> None:
    """When the input of a cut stream is used up, up to 258 bytes of a repetition may still come out."""
    packed = gzip.compress(bytes(3_000_000))[:2001]
    for size in range(1000, 1016):
        stream, room, total = Gunzip(io.BytesIO(packed)), memoryview(bytearray(size)), 0  # type: ignore[arg-type]
        with suppress(EOFError):
            while True:
                total += stream.readinto(room)
        assert total == len(zlib.decompressobj(31).decompress(packed))


def test_a_broken_zstandard_pipe_loses_little(tmp_path: Path) -> None:
    packed = zstd(s.pcap([s.Frame(i, FRAMES[0].data + noise(60)) for i in range(3900)]))
    fifo = tmp_path / "pipe"
    os.mkfifo(fifo)
    writer = threading.Thread(target=fifo.write_bytes, args=(packed[:-1],))
    writer.start()
    rows, counts = read(fifo)
    writer.join()
    assert rows >= (3 * (1 << 17) - (1 << 14)) // (RECORD + 60)  # three blocks are whole
    assert len(counts.damaged) == 1


def test_zstandard_may_begin_with_a_skippable_frame(tmp_path: Path) -> None:
    content = b"\x5a\x2a\x4d\x18\4\0\0\0free" + zstd(PLAIN)
    assert read(s.save(tmp_path / "x.pcap.zst", content))[0] == 2600


def test_an_empty_file_of_a_set_is_reported(tmp_path: Path) -> None:
    for number in range(3):
        s.save(tmp_path / f"any.pcap{number}", b"" if number == 1 else s.pcap(FRAMES[number * 10 : number * 10 + 10]))
    rows, counts = read(tmp_path)
    assert (rows, counts.files) == (20, 3)
    assert [(Path(d.file).name, d.reason) for d in counts.damaged] == [("any.pcap1", "the file is empty")]
    for number in (0, 2):
        s.save(tmp_path / f"any.pcap{number}", b"")
    with pytest.raises(CaptureError, match="the file is empty"):
        read(tmp_path)


def test_a_node_with_nothing_does_not_stop_the_others(tmp_path: Path) -> None:
    for node in ("node-1", "node-2"):
        (tmp_path / node).mkdir()
        s.save(tmp_path / node / "any.pcap0", b"" if node == "node-1" else s.pcap(FRAMES[:10]))
    rows, counts = read(tmp_path)
    assert (rows, [d.reason for d in counts.damaged]) == (10, ["the file is empty"])


@pytest.mark.parametrize(
    ("content", "advice"),
    [
        (b"\xfd7zXZ\0" + bytes(30), "xz -dc"),
        (b"BZh91AY" + bytes(30), "bzip2 -dc"),
        (b"\x04\x22\x4d\x18" + bytes(30), "lz4 -dc"),
        (b"snoop\0\0\0" + bytes(30), "editcap -F pcapng"),
        (b"#separator \\x09\n#fields\tts\n" + bytes(30), "cluster=recorded cluster.capture="),
        (b'{"flow":{"time":"2023-01-01T00:00:00Z"}}\n', "cluster=recorded cluster.capture="),
        (b"ts,te,td,sa,da,sp,dp,pr,flg,fwd,stos,ipkt,ibyt\n", "cluster=recorded cluster.capture="),
    ],
)
def test_what_is_no_capture_is_told_what_reads_it(tmp_path: Path, content: bytes, advice: str) -> None:
    for form in (content, gzip.compress(content)):
        with pytest.raises(CaptureError) as caught:
            read(s.save(tmp_path / "some file", form))
        assert advice in str(caught.value)
        assert f"'{tmp_path}/some file'" in str(caught.value)
        assert "\n" not in str(caught.value)
