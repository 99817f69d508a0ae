"""Where bytes come from: files, gzip, rotated sets."""

from __future__ import annotations

import glob
import gzip
import re
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import IO, cast

from mimir.errors import CaptureError

GZIP_MAGIC = b"\x1f\x8b"
#: names of capture files in a folder: x.pcap, x.pcapng, x.cap, with a rotation number and .gz behind
CAPTURE_NAME = re.compile(r"\.(pcap|pcapng|cap|dmp)(\d*)([._-]?\d+)?(\.gz)?$", re.IGNORECASE)


class Source:
    """Bytes of one capture, decompressed; `offset` counts what was handed out."""

    def __init__(self, path: Path):
        self.path, self.offset = path, 0
        self.damage = ""
        try:
            self._raw = path.open("rb", buffering=0)
            magic = self._raw.read(2)
            self._raw.seek(0)
            self.compressed = magic == GZIP_MAGIC
            self._file = cast(IO[bytes], gzip.GzipFile(fileobj=self._raw, mode="rb") if self.compressed else self._raw)
            self.size = None if self.compressed else path.stat().st_size
        except OSError as error:
            raise CaptureError(path, f"cannot be opened: {error.strerror or error}") from error

    def readinto(self, room: memoryview) -> int:
        """Fill `room` as far as the file goes; returns bytes read. What stopped it early stands in `damage`."""
        done = 0
        while done < len(room) and not self.damage:
            try:
                count = self._file.readinto(room[done:])  # type: ignore[attr-defined]
            except (EOFError, zlib.error, gzip.BadGzipFile) as error:
                self.damage = f"damaged gzip stream: {error}"
                break
            except OSError as error:
                self.damage = f"cannot be read: {error.strerror or error}"
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


def natural(path: Path) -> tuple[tuple[int, int, str], ...]:
    """Sort key under which x2.pcap stands before x10.pcap."""
    parts = re.findall(r"\d+|\D+", str(path))
    return tuple((0, int(p), "") if p.isdigit() else (1, 0, p) for p in parts)


def expand(source: str | Path | Iterable[str | Path]) -> list[Path]:
    """A file, a folder, a glob pattern, or several of them → capture files. Raises CaptureError if there is none."""
    if not isinstance(source, (str, Path)):
        return [file for item in source for file in expand(item)]
    path = Path(source)
    if path.is_dir():
        files = sorted((f for f in path.iterdir() if f.is_file() and CAPTURE_NAME.search(f.name)), key=natural)
        if not files:
            raise CaptureError(path, "the folder holds no file named *.pcap, *.pcapng or *.cap (.gz allowed)")
        return files
    if path.exists():
        return [path]
    files = sorted((Path(name) for name in glob.glob(str(source))), key=natural)
    if not files:
        raise CaptureError(path, "no such file, folder or pattern")
    return [file for name in files for file in expand(name)]
