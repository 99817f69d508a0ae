"""The capture table of the report: what was recorded, what was counted once instead of twice, what was skipped."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from mimir.report.load import RunFiles
from mimir.report.words import plain
from mimir.units import format_bytes, format_duration

CAPTURE_FIRST = (
    "packets",
    "bytes",
    "captured_bytes",
    "copies_removed",
    "copies_recognised_by",
    "dropped",
    "skipped",
    "fragments",
    "truncated",
    "stores",
)


@dataclass(frozen=True)
class CaptureTable:
    """Recordings as columns; `rows` tell what matters, `rest` the remaining counts, `zero` what was counted and never seen."""

    recordings: list[str]
    rows: list[tuple[str, list[str]]]
    rest: list[tuple[str, list[str]]]
    zero: list[str]


def capture_table(run: RunFiles) -> CaptureTable:
    """What capture.json counts, a row for each thing; numbers named `…_ns` (first and last packet) are left out."""
    recordings: list[str] = [name for name in ("fit", "calibrate", "test") if name in run.capture]
    recordings += [n for n in sorted(run.capture) if n not in recordings and isinstance(run.capture[n], dict)]
    flat = {name: dict(_flat(run.capture[name], "")) for name in recordings}
    order = {key: i for i, key in enumerate(CAPTURE_FIRST)}
    keys = dict.fromkeys(key for name in recordings for key in flat[name])
    rows: list[tuple[str, list[str]]] = []
    rest: list[tuple[str, list[str]]] = []
    zero: list[str] = []
    for key in sorted(keys, key=lambda k: order.get(k.partition(":")[0], len(order))):
        values = [flat[name].get(key) for name in recordings]
        if not any(_count_of(value) for value in values):
            zero.append(_heading(key))
        else:
            (rows if key.partition(":")[0] in order else rest).append((_heading(key), [_cell(key, v) for v in values]))
    return CaptureTable(recordings, rows, rest, zero)


def _count_of(value: Any) -> Any:
    return value.get("packets") if isinstance(value, Mapping) else value


def _flat(value: Mapping[str, Any], prefix: str) -> Iterable[tuple[str, Any]]:
    for key, inner in value.items():
        if isinstance(inner, Mapping) and set(inner) != {"packets", "bytes"}:
            yield from _flat(inner, f"{prefix}{key}: ")
        elif not key.endswith("_ns"):
            yield f"{prefix}{key}", len(inner) if isinstance(inner, list) else inner


def _heading(key: str) -> str:
    text = key.replace("_", " ")
    return text[:1].upper() + text[1:]


def _cell(key: str, value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, Mapping):
        return f"{value['packets']:,} ({format_bytes(value['bytes'])})"
    if isinstance(value, bool) or not isinstance(value, int | float):
        return {True: "yes", False: "no"}.get(value, str(value)) if isinstance(value, bool) else str(value)
    if key.endswith("bytes"):
        return format_bytes(value)
    if key.endswith("_s"):
        return format_duration(value)
    return f"{value:,}" if isinstance(value, int) else plain(value)
