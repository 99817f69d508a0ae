"""What sets runs apart: the values of their specs that differ, and nothing that follows from them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mimir.files import to_json

#: always shown, even when all runs agree
MAIN_GROUPS = ("app", "exfiltration", "detector")
#: keys that say how a run is made or named, or which repetition it is: they never make a row of their own
IGNORED = ("seed", "tracking", "hydra", "paths", "verbosity", "workers", "reuse", "dry_run", "experiment")
IGNORED_IN_GROUP = ("description", "expect")

Value = str | int | float | bool | None


def factors(specs: Sequence[Mapping[str, Any]]) -> list[dict[str, Value]]:
    """One dict per spec: the options chosen for the main groups, for other groups where they differ, and single values
    that differ among runs with the same option. All dicts have the same keys; None where a spec lacks the value.
    """
    flat = [dict(_flatten(spec)) for spec in specs]
    options = [{key.removesuffix(".name"): f.get(key) for key in _names(flat)} for f in flat]
    keys = sorted({key for f in flat for key in f} - set(_names(flat)))
    varying = [key for key in keys if _varies(key, flat, options)]
    out = []
    for f, chosen in zip(flat, options, strict=True):
        main = {group: chosen.get(group) for group in MAIN_GROUPS}
        others = {g: o for g, o in chosen.items() if g not in main and len({c.get(g) for c in options}) > 1}
        out.append({**main, **others, **{key: f.get(key) for key in varying}})
    return out


def _names(flat: Sequence[Mapping[str, Value]]) -> list[str]:
    """The keys `<group>.name`, in alphabetical order."""
    return sorted({key for f in flat for key in f if key.endswith(".name") and key.count(".") == 1})


def _varies(key: str, flat: Sequence[Mapping[str, Value]], options: Sequence[Mapping[str, Value]]) -> bool:
    """True when runs that chose the same option of the key's group differ in its value."""
    seen: dict[Value, set[str]] = {}
    for f, chosen in zip(flat, options, strict=True):
        seen.setdefault(chosen.get(key.partition(".")[0]), set()).add(repr(f.get(key)))
    return any(len(values) > 1 for values in seen.values())


def _flatten(node: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Value]]:
    """Dotted key → value; lists become JSON text."""
    for key, value in node.items():
        if (not prefix and key in IGNORED) or (prefix.count(".") == 1 and key in IGNORED_IN_GROUP):
            continue
        if isinstance(value, Mapping):
            yield from _flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value if isinstance(value, Value) else to_json(value)


def sort_key(values: Mapping[str, Value]) -> list[tuple[int, float, str]]:
    """Order rows by their factors, numbers as numbers, absent values first."""
    return [_rank(value) for value in values.values()]


def _rank(value: Value) -> tuple[int, float, str]:
    if value is None:
        return (0, 0.0, "")
    return (1, float(value), "") if isinstance(value, int | float) else (2, 0.0, value)
