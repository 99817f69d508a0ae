"""Where bytes come from: files, pipes and standard input, gzip and Zstandard, rotated sets."""

from __future__ import annotations

import glob
import gzip
import io
import os
import re
import shlex
import zlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from mimir.capture.gunzip import GZIP_MAGIC, Gunzip
from mimir.errors import CaptureError

ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
#: a frame of bytes that a decoder steps over (RFC 8878, 3.1.2); its first byte is 0x50 to 0x5f
SKIPPABLE_MAGIC = b"\x2a\x4d\x18"
#: read at a time from a pipe of Zstandard: when its stream breaks, what the last read had got is lost
ZSTD_PIECE_BYTES = 1 << 14
#: other formats by their first bytes, and what turns them into one that is read
OTHER_FORMATS = {
    b"\xfd7zXZ": "xz; unpack it: xz -dc {0} | python -m mimir.capture inspect -",
    b"BZh": "bzip2; unpack it: bzip2 -dc {0} | python -m mimir.capture inspect -",
    b"\x04\x22\x4d\x18": "lz4; unpack it: lz4 -dc {0} | python -m mimir.capture inspect -",
    b"PK\x03\x04": "zip; unpack it: unzip -p {0} | python -m mimir.capture inspect -",
    b"snoop\0": "snoop; convert it: editcap -F pcapng {0} {0}.pcapng",
}
#: how flow records of other tools begin (mimir.flows.foreign knows them for certain)
FLOW_RECORDS = re.compile(rb"#separator|#fields|\{\s*\"|ts,te,td,|firstSeen,|=====")
#: names of capture files in a folder: x.pcap, x.pcapng, x.cap, with a rotation number and .gz or .zst behind
CAPTURE_NAME = re.compile(r"\.(pcap|pcapng|cap|dmp)(\d*)([._-]?\d+)?(\.gz|\.zst)?$", re.IGNORECASE)
STANDARD_INPUT = Path("-")


class _Replay(io.RawIOBase):
    """A stream that cannot go back, after its first bytes were looked at."""

    def __init__(self, head: bytes, stream: io.FileIO):
        self._head, self._stream = head, stream

    def readable(self) -> bool:
        return True

    def readinto(self, room: Any) -> int | None:
        """The bytes looked at first, then those of the stream."""
        if not self._head:
            return self._stream.readinto(room)
        count = min(len(room), len(self._head))
        room[:count], self._head = self._head[:count], self._head[count:]
        return count


class Source:
    """Bytes of one capture, decompressed; `offset` counts what was handed out."""

    def __init__(self, path: Path):
        self.path, self.offset = path, 0
        self.damage = ""
        try:
            self.stream = path == STANDARD_INPUT or not path.is_file()  #: a pipe: read once, never back
            self._raw = io.FileIO(0 if path == STANDARD_INPUT else path, closefd=path != STANDARD_INPUT)
            self._file = self._decompressed(self._look())
        except OSError as error:
            raise CaptureError(path, f"cannot be opened: {error.strerror or error}") from error

    def _look(self) -> bytes:
        head = b""
        while len(head) < 4 and (more := self._raw.read(4 - len(head))):
            head += more
        return head

    def _decompressed(self, head: bytes) -> Any:
        self.codec = codec_of(head)
        if self.stream:
            raw: io.RawIOBase = _Replay(head, self._raw)
        else:
            self._raw.seek(0)
            raw = self._raw
        return Gunzip(raw) if self.codec == "gzip" else _zstd(raw) if self.codec == "zstd" else raw

    @property
    def size(self) -> int | None:
        """Bytes of the file as of now; None when unknown (compressed, a pipe)."""
        return None if self.codec or self.stream else os.fstat(self._raw.fileno()).st_size

    def readinto(self, room: memoryview, least: int | None = None) -> int:
        """Fill `room` as far as the file goes; returns bytes read. What stopped it early stands in `damage`.

        A pipe gives what it has as soon as that is `least` bytes.
        """
        done, enough = 0, least if least is not None and self.stream else len(room)
        while done < enough and not self.damage:
            until = min(len(room), done + ZSTD_PIECE_BYTES) if self.codec == "zstd" and self.stream else len(room)
            try:
                count = self._file.readinto(room[done:until])
            except (EOFError, zlib.error, gzip.BadGzipFile) as error:
                self.damage = f"damaged gzip stream: {error}"
            except OSError as error:
                done += self._rescued(room, done)
                reason = "damaged zstd stream" if self.codec == "zstd" and error.errno is None else "cannot be read"
                self.damage = f"{reason}: {error.strerror or error}"
            else:
                if not count:
                    break
                done += count
        self.offset += done
        return done

    def _rescued(self, room: memoryview, done: int) -> int:
        """What a broken Zstandard file still holds behind `done`: unpacked once more, at the end byte by byte."""
        if self.codec != "zstd" or self.stream:
            return 0
        self._raw.seek(0)
        again, left, got = _zstd(self._raw), self.offset + done, 0
        try:
            while left and (read := len(again.read(min(left, len(room))))):
                left -= read
            while done + got < len(room) and again.readinto(room[done + got : done + got + 1]):
                got += 1
        except OSError:
            pass  # the same error as before
        return got

    def close(self) -> None:
        """Close the file."""
        self._file.close()
        self._raw.close()


def is_compressed(path: Path) -> bool:
    """Does a file begin as gzip or Zstandard do? False for standard input and other pipes."""
    if path == STANDARD_INPUT or not path.is_file():
        return False
    with path.open("rb") as file:
        head = file.read(4)
    return codec_of(head) != ""


def codec_of(head: bytes) -> str:
    """`gzip`, `zstd` or "" by the first four bytes.

    >>> codec_of(bytes.fromhex("1f8b0800")), codec_of(bytes.fromhex("502a4d18")), codec_of(bytes(4))
    ('gzip', 'zstd', '')
    """
    if head[:2] == GZIP_MAGIC:
        return "gzip"
    skippable = head[1:4] == SKIPPABLE_MAGIC and head[0] >> 4 == 5
    return "zstd" if head[:4] == ZSTD_MAGIC or skippable else ""


def _zstd(raw: io.RawIOBase) -> Any:
    import pyarrow as pa  # 0.1 s

    return pa.CompressedInputStream(raw, "zstd")


def what_it_is(path: Path, head: bytes) -> str:
    """What to do about a file that is no capture, as the end of a sentence; "" when there is no saying."""
    for magic, advice in OTHER_FORMATS.items():
        if head.startswith(magic):
            return ": " + advice.format(shlex.quote(str(path)))
    if FLOW_RECORDS.match(head.lstrip()):
        return (
            "; if these are flow records of Zeek, Hubble or nfdump, or a conversation table of tshark, cluster=recorded reads them: "
            f"python run.py app=generic cluster=recorded cluster.capture={shlex.quote(str(path))} exfiltration=none"
        )
    return ""


def is_empty(path: Path) -> bool:
    """A regular file without a byte, as recorders leave behind that were stopped."""
    return path != STANDARD_INPUT and path.is_file() and path.stat().st_size == 0


def short_names(paths: Sequence[Path]) -> list[str]:
    """Names of files as far as they differ: without the folders they have in common.

    >>> short_names([Path("/x/shop/node-1/any.pcap0"), Path("/x/shop/node-2/any.pcap0")])
    ['node-1/any.pcap0', 'node-2/any.pcap0']
    >>> short_names([Path("/x/any.pcap")])
    ['any.pcap']
    """
    shared = 0
    for parts in zip(*(path.parent.parts for path in paths), strict=False):
        if len(set(parts)) > 1:
            break
        shared += 1
    return [str(Path(*path.parts[shared:])) for path in paths]


def natural(path: Path) -> tuple[tuple[int, int, str], ...]:
    """Sort key under which x2.pcap stands before x10.pcap."""
    parts = re.findall(r"\d+|\D+", str(path))
    return tuple((0, int(p), "") if p.isdigit() else (1, 0, p) for p in parts)


def captures_in(folder: Path) -> list[Path]:
    """Files of a folder that are captures by their names, in natural order."""
    return sorted((f for f in folder.iterdir() if f.is_file() and CAPTURE_NAME.search(f.name)), key=natural)


def expand(source: str | Path | Iterable[str | Path]) -> list[Path]:
    """A file, `-`, a folder, a glob pattern, or several of them → capture files. Raises CaptureError if there is none."""
    if not isinstance(source, (str, Path)):
        return [file for item in source for file in expand(item)]
    path = Path(source)
    if path == STANDARD_INPUT:
        return [path]
    if path.is_dir():
        files = captures_in(path)
        if not files:
            raise CaptureError(path, "the folder holds no file named *.pcap, *.pcapng or *.cap (.gz and .zst allowed)")
        return files
    if path.exists():
        return [path]
    files = sorted((Path(name) for name in glob.glob(str(source))), key=natural)
    if not files:
        raise CaptureError(path, "no such file, folder or pattern")
    return [file for name in files for file in expand(name)]
