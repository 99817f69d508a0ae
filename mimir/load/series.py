"""A series of load from a CSV file: `time_s,users` or `time_s,rate`."""

from __future__ import annotations

import csv
import hashlib
import math
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mimir.errors import MimirError

USERS, RATE = "users", "rate"  # numbers of users as they are, or anything that is proportional to the load


class SeriesError(MimirError):
    """A series that cannot be replayed; the message begins with a verb, for `load.series …`."""


@dataclass(frozen=True)
class Series:
    """Rows in order of time. The last value holds as long as the one before it, then the series begins again."""

    time_s: NDArray[np.float64]
    value: NDArray[np.float64]
    column: str  # USERS or RATE
    sha256: str

    @property
    def period_s(self) -> float:
        """Length of one pass in the file's own seconds."""
        return float(2 * self.time_s[-1] - self.time_s[-2] - self.time_s[0])


def read_series(file: str) -> Series:
    """Read a file; raises SeriesError with the line of the first mistake."""
    try:
        content = Path(file).read_bytes()
    except OSError as error:
        raise SeriesError(f"names a file that cannot be read: {file} ({error.strerror})") from error
    return _parse(file, content)


@lru_cache(maxsize=4)
def _parse(file: str, content: bytes) -> Series:
    rows = csv.reader(content.decode("utf-8-sig", errors="replace").splitlines())
    header = [name.strip() for name in next(rows, [])]
    if len(header) != 2 or header[0] != "time_s" or header[1] not in (USERS, RATE):
        raise SeriesError(f"has the header {','.join(header)!r}: {file}, line 1 must be time_s,users or time_s,rate")
    times: list[float] = []
    values: list[float] = []
    for row in rows:
        if not row:
            continue
        time_s, value = _numbers(file, rows.line_num, row)
        if times and time_s <= times[-1]:
            raise SeriesError(f"goes back in time: {file}, line {rows.line_num}: {time_s:g} s after {times[-1]:g} s")
        if value < 0:
            raise SeriesError(f"has a negative {header[1]}: {file}, line {rows.line_num}: {value:g}")
        times.append(time_s)
        values.append(value)
    if len(times) < 2 or max(values) <= 0:
        raise SeriesError(f"has {len(times)} rows: {file} needs two or more, and a value above 0")
    return Series(np.array(times), np.array(values), header[1], hashlib.sha256(content).hexdigest())


def _numbers(file: str, line: int, row: list[str]) -> tuple[float, float]:
    try:
        time_s, value = (float(cell) for cell in row)
    except ValueError:
        raise SeriesError(f"has a line that is not two numbers: {file}, line {line}: {','.join(row)!r}") from None
    if not (math.isfinite(time_s) and math.isfinite(value)):
        raise SeriesError(f"has a number that is not finite: {file}, line {line}: {','.join(row)!r}")
    return time_s, value
