"""The truth ledger (truth.jsonl): what really left, when. Labels come from here, never from the spec."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Annotated, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

from mimir.errors import MimirError
from mimir.files import write_jsonl
from mimir.spec.exfiltration import PathClass

_CLASSES = tuple(c.value for c in PathClass if c is not PathClass.none)
#: while bytes flow a ledger has a point at least this often
POINT_EVERY_S = 10.0
#: `path_class` of entries that are no leaks but benign events worth watching: benign:scale_out …
BENIGN = "benign:"
Time = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=0)]


class LedgerError(MimirError):
    """A line of a ledger is not an entry; the message names file, line and field."""


@dataclass(frozen=True)
class LedgerEntry:
    """One incident as it happened. Times are UTC epoch seconds; bytes are stolen bytes, framing not counted."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    incident: str
    recording: str
    start: Time  #: first byte leaves the store
    end: Time  #: last byte arrives outside
    channel: str
    technique: str
    path_class: str  #: new_edge, allowed_chain, dns or benign:<kind>
    path: tuple[str, ...]  #: services, store first, outside last
    pods: tuple[str, ...]  #: pod of each hop, "" where there is none
    bytes_intended: Count
    bytes_delivered: Count
    sha256_sent: str  #: of the bytes the store sent
    sha256_received: str  #: of the bytes that arrived
    delivered: tuple[tuple[Time, Count], ...]  #: (time, bytes arrived outside up to then), rising


def write_ledger(path: Path, entries: Iterable[LedgerEntry]) -> None:
    """Write entries as JSON lines in order of start, whole or not at all."""
    ordered = sorted(entries, key=lambda entry: (entry.start, entry.incident))
    write_jsonl(path, (asdict(entry) for entry in ordered))


def read_ledger(path: Path) -> list[LedgerEntry]:
    """Entries of a ledger; empty for an empty file. LedgerError names the first line and field that is wrong."""
    entries = []
    with path.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            if line.strip():
                try:
                    entries.append(_adapter().validate_json(line, strict=True))
                    _check(entries[-1])
                except ValidationError as error:
                    raise LedgerError(f"{path}, line {number}: {_first(error)}") from None
                except ValueError as error:
                    raise LedgerError(f"{path}, line {number}: {error}") from None
    return entries


def delivered_at(entry: LedgerEntry, ts: ArrayLike) -> NDArray[np.float64]:
    """Bytes arrived outside up to each time of `ts` (same shape), linear between the ledger's points.

    What a point adds flowed in the POINT_EVERY_S before it: a longer gap is a pause. Without points: spread evenly.

    >>> entry = LedgerEntry("a", "test", 10.0, 60.0, "raw_tcp", "T1041", "new_edge", ("db", "outside"), ("db-0", ""),
    ...                     100, 100, "", "", ((15.0, 40), (60.0, 100)))
    >>> delivered_at(entry, [5, 12.5, 15, 50, 55, 99]).tolist()
    [0.0, 20.0, 40.0, 40.0, 70.0, 100.0]
    """
    points = entry.delivered or ((entry.end, entry.bytes_delivered),)
    knots: list[tuple[float, float]] = [(entry.start, 0.0)]
    for time, count in points:
        if entry.delivered and time - knots[-1][0] > POINT_EVERY_S:
            knots.append((time - POINT_EVERY_S, knots[-1][1]))
        knots.append((time, count))
    curve = np.array(knots, dtype=np.float64)
    return np.asarray(np.interp(np.asarray(ts, dtype=np.float64), curve[:, 0], curve[:, 1]), dtype=np.float64)


@cache
def _adapter() -> TypeAdapter[LedgerEntry]:
    return TypeAdapter(LedgerEntry)


def _first(error: ValidationError) -> str:
    """The first thing wrong, with the field's name, what it holds and how many more there are."""
    details = error.errors(include_url=False)
    where = ".".join(str(part) for part in details[0]["loc"])
    more = f", and {len(details) - 1} more" if len(details) > 1 else ""
    got = f" (got {details[0]['input']!r})" if not isinstance(details[0]["input"], dict) else ""
    return f"{where + ': ' if where else ''}{details[0]['msg']}{got}{more}"


def _check(entry: LedgerEntry) -> None:
    if entry.path_class not in _CLASSES and not entry.path_class.startswith(BENIGN):
        raise ValueError(f"path_class is {entry.path_class!r} (allowed: {', '.join(_CLASSES)}, {BENIGN}<kind>)")
    if len(entry.path) < 2 and entry.path_class in _CLASSES:
        raise ValueError(f"path needs a store and a way out (got {list(entry.path)})")
    if len(entry.pods) != len(entry.path):
        raise ValueError(f"pods needs one name per service of the path (got {list(entry.pods)})")
    if entry.end < entry.start:
        raise ValueError(f"end {entry.end} is before start {entry.start}")
    points = [(entry.start, 0), *entry.delivered]
    if any(b[0] < a[0] or b[1] < a[1] for a, b in pairwise(points)):
        raise ValueError("delivered must rise in time and bytes, from the start on")
    if entry.delivered and points[-1][1] != entry.bytes_delivered:
        raise ValueError(f"delivered ends at {points[-1][1]} bytes, bytes_delivered is {entry.bytes_delivered}")
