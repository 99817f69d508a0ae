"""Files still being written are read as they grow; a record that is not complete yet is no damage."""

from __future__ import annotations

import gzip
import os
from collections.abc import Callable
from pathlib import Path
from threading import Event, Thread

import pytest

from mimir.capture import open_capture
from mimir.errors import CaptureError
from tests.capture import capture_samples as s

FRAMES = s.web_frames(40)
TIMES = [f.ts_ns for f in FRAMES]
PCAP = s.pcap(FRAMES)
PCAPNG = s.section() + s.interface(tsresol=9) + b"".join(s.enhanced(f, f.ts_ns) for f in FRAMES)


def writer(path: Path, pieces: list[bytes]) -> Callable[[], bool]:
    """A `stop` that writes the next piece whenever the reader asks, and is true when nothing is left."""

    def stop() -> bool:
        if not pieces:
            return True
        with path.open("ab") as out:
            out.write(pieces.pop(0))
        return False

    return stop


def cut(content: bytes, size: int) -> list[bytes]:
    return [content[i : i + size] for i in range(0, len(content), size)]


@pytest.mark.parametrize("content", [PCAP, PCAPNG])
@pytest.mark.parametrize("size", [97, 1000])
def test_a_growing_file_is_read_as_it_grows(tmp_path: Path, content: bytes, size: int) -> None:
    path = s.save(tmp_path / "x.pcap", b"")
    capture = open_capture(path, follow=True, stop=writer(path, cut(content, size)))
    batches = list(capture)
    assert [t for b in batches for t in b.ts_ns.tolist()] == TIMES
    assert len(batches) > 2
    assert (capture.counts.damaged, capture.counts.unfinished_bytes, capture.counts.files) == ([], 0, 1)


def test_rows_are_handed_out_before_the_file_ends(tmp_path: Path) -> None:
    path = s.save(tmp_path / "x.pcap", s.pcap(FRAMES[:5]))
    done: list[int] = []
    capture = open_capture(path, follow=True, stop=lambda: len(done) >= 2)
    for batch in capture:
        done.append(len(batch))
        if len(done) == 1:
            with path.open("ab") as out:
                out.write(s.pcap(FRAMES[5:8])[24:])
    assert done == [5, 3]


@pytest.mark.parametrize("content", [PCAP, PCAPNG])
def test_an_unfinished_record_is_counted_not_damage(tmp_path: Path, content: bytes) -> None:
    path = s.save(tmp_path / "x.pcap", content[:-7])
    capture = open_capture(path, follow=True, timeout_s=0.1)
    assert sum(len(b) for b in capture) == 39
    assert capture.counts.damaged == []
    assert capture.counts.unfinished_bytes > 0
    assert [d.reason for d in _plain(path)] != []


def _plain(path: Path) -> list[object]:
    capture = open_capture(path)
    list(capture)
    return list(capture.counts.damaged)


def test_earlier_files_of_a_set_are_complete(tmp_path: Path) -> None:
    s.save(tmp_path / "a.pcap0", s.pcap(FRAMES[:10]) + b"torn")
    last = s.save(tmp_path / "a.pcap1", s.pcap(FRAMES[10:20]))
    capture = open_capture(tmp_path, follow=True, stop=writer(last, cut(s.pcap(FRAMES[20:])[24:], 200)))
    assert [t for b in capture for t in b.ts_ns.tolist()] == TIMES
    assert len(capture.counts.damaged) == 1


def test_a_block_longer_than_the_buffer_is_stepped_over(tmp_path: Path) -> None:
    content = s.section() + s.interface(tsresol=9) + s.block(5, bytes(5000)) + s.enhanced(FRAMES[0], TIMES[0])
    path = s.save(tmp_path / "x.pcapng", b"")
    capture = open_capture(path, follow=True, stop=writer(path, cut(content, 300)), block_bytes=512)
    assert [t for b in capture for t in b.ts_ns.tolist()] == TIMES[:1]
    assert capture.counts.damaged == []


def test_a_file_that_stays_empty_is_an_error_in_the_end(tmp_path: Path) -> None:
    with pytest.raises(CaptureError, match="empty"):
        list(open_capture(s.save(tmp_path / "x.pcap", b""), follow=True, timeout_s=0.1))


def test_compressed_files_cannot_be_followed(tmp_path: Path) -> None:
    path = s.save(tmp_path / "x.pcap.gz", gzip.compress(PCAP))
    with pytest.raises(CaptureError, match="cannot be followed"):
        list(open_capture(path, follow=True, timeout_s=0.1))


@pytest.mark.parametrize("options", [{"stop": lambda: True}, {"timeout_s": 1.0}])
def test_stopping_is_for_following(tmp_path: Path, options: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="follow=True"):
        open_capture(s.save(tmp_path / "x.pcap", PCAP), **options)  # type: ignore[arg-type]


def test_a_live_pipe_hands_out_rows_as_they_come(tmp_path: Path) -> None:
    pipe, seen = tmp_path / "pipe", Event()
    os.mkfifo(pipe)
    waited: list[bool] = []

    def feed() -> None:
        with pipe.open("wb", buffering=0) as out:
            out.write(s.pcap(FRAMES[:5]))
            waited.append(seen.wait(30))
            out.write(s.pcap(FRAMES[5:])[24:])

    feeder = Thread(target=feed)
    feeder.start()
    times = []
    for batch in open_capture(pipe, follow=True):
        times += batch.ts_ns.tolist()
        seen.set()
    feeder.join()
    assert times == TIMES
    assert waited == [True]
