"""Where bytes come from: files, pipes and standard input, gzip and Zstandard, rotated sets."""

from __future__ import annotations

import glob
import gzip
import io
import os
import re
import zlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from mimir.errors import CaptureError

GZIP_MAGIC, ZSTD_MAGIC = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
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
        self.codec = "gzip" if head[:2] == GZIP_MAGIC else "zstd" if head == ZSTD_MAGIC else ""
        if self.stream:
            raw: io.RawIOBase = _Replay(head, self._raw)
        else:
            self._raw.seek(0)
            raw = self._raw
        if self.codec == "gzip":
            return gzip.GzipFile(fileobj=io.BufferedReader(raw, 1 << 16), mode="rb")
        if self.codec == "zstd":
            import pyarrow as pa  # 0.1 s

            return pa.CompressedInputStream(raw, "zstd")
        return raw

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
            try:
                count = self._file.readinto(room[done:])
            except (EOFError, zlib.error, gzip.BadGzipFile) as error:
                self.damage = f"damaged gzip stream: {error}"
                break
            except OSError as error:
                reason = "damaged zstd stream" if self.codec == "zstd" and error.errno is None else "cannot be read"
                self.damage = f"{reason}: {error.strerror or error}"
                break
            if not count:
                break
            done += count
        self.offset += done
        return done

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
    return head[:2] == GZIP_MAGIC or head == ZSTD_MAGIC


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
