"""Lines of text files, plain or gzip, and a tally of those that could not be understood."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, cast

from mimir.errors import MimirError

GZIP_MAGIC = b"\x1f\x8b"
BOM = b"\xef\xbb\xbf"
#: bad lines told apart in the report; the rest is only counted
EXAMPLES = 20
HEAD_BYTES = 1 << 16


@dataclass
class Lines:
    """Iterate for (line number from 1, text without line end). `damage` says why reading stopped early, if it did."""

    path: Path
    damage: str = ""
    count: int = 0  #: lines read so far

    def __iter__(self) -> Iterator[tuple[int, str]]:
        try:
            with open_bytes(self.path) as data:
                for self.count, line in enumerate(data, 1):
                    text = line.removeprefix(BOM) if self.count == 1 else line
                    yield self.count, text.decode("utf-8", "replace").rstrip("\r\n")
        except (EOFError, zlib.error, OSError) as error:
            self.damage = f"reading stopped early: {error}"


@dataclass
class BadLines:
    """Lines left out: how many for each reason, and the first ones with number and reason."""

    counts: dict[str, int] = field(default_factory=dict)
    examples: list[dict[str, Any]] = field(default_factory=list)

    def add(self, number: int, kind: str, detail: str = "") -> None:
        """Count one line. `kind` is one of a few reasons, `detail` what was found."""
        self.counts[kind] = self.counts.get(kind, 0) + 1
        if len(self.examples) < EXAMPLES:
            self.examples.append({"line": number, "reason": f"{kind}: {detail}" if detail else kind})


def open_bytes(path: Path) -> IO[bytes]:
    """Decompressed bytes. Raises OSError."""
    with path.open("rb") as raw:
        packed = raw.read(2) == GZIP_MAGIC
    return cast(IO[bytes], gzip.open(path, "rb")) if packed else path.open("rb")


def head(path: Path) -> bytes:
    """The first bytes, decompressed; b"" where gzip is damaged. Raises MimirError for a file that cannot be opened."""
    try:
        with open_bytes(path) as data:
            return data.read(HEAD_BYTES).removeprefix(BOM)
    except (EOFError, zlib.error, gzip.BadGzipFile):
        return b""
    except OSError as error:
        raise MimirError(f"{path}: cannot be opened: {error.strerror or error}") from error
