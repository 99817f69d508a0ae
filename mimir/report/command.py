"""The command that repeats a run: one option for each group, then every value that differs from those options."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from mimir.spec.detector import SUPERVISED
from mimir.spec.signature import OF_SUPERVISED

GROUPS = ("app", "cluster", "load", "exfiltration", "capture", "detector", "evaluation")
PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_./%@-]*")


def reproduce_command(spec: Mapping[str, Any]) -> str:
    """`python run.py …` for a resolved spec, from the options in conf/ that come closest.

    Values of the option files are not repeated. Keys that never change a result (tracking, paths, workers …) are
    left out.
    """
    words = ["python run.py"]
    details: list[str] = []
    for group in GROUPS:
        part = spec.get(group)
        if not isinstance(part, Mapping):
            continue
        if group == "evaluation" and (spec.get("detector") or {}).get("name") not in SUPERVISED:
            part = {key: value for key, value in part.items() if key not in OF_SUPERVISED}
        option, differences = _closest(group, part)
        words.append(f"{group}={option}")
        details += [f"{group}.{key}={_value(value)}" for key, value in differences]
    return " ".join([*words, f"seed={spec.get('seed')}", *(shlex.quote(detail) for detail in details)])


def _conf() -> Path | None:
    package = Path(__file__).resolve().parent.parent
    return next((f for f in (package.parent / "conf", package / "conf") if (f / "config.yaml").is_file()), None)


def _closest(group: str, part: Mapping[str, Any]) -> tuple[str, list[tuple[str, Any]]]:
    """The option of a group with the same `name` and the fewest differences; its own name where conf/ has none."""
    name, folder = str(part.get("name")), _conf()
    best: tuple[str, list[tuple[str, Any]]] | None = None
    for path in sorted((folder / group).glob("*.yaml")) if folder else ():
        values = _option(path)
        if str(values.get("name", path.stem)) == name:
            found = (path.stem, list(_differences(part, values, "")))
            if best is None or len(found[1]) < len(best[1]):
                best = found
    return best or (name, [])


def _option(path: Path) -> dict[str, Any]:
    """An option file, with the options that its defaults list puts inside it (`/exfiltration@train: relay_chain`)."""
    import yaml

    values: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    for line in values.pop("defaults", []):
        if isinstance(line, Mapping):
            ((where, name),) = line.items()
            group, _, key = str(where).lstrip("/").partition("@")
            values[key] = _option(path.parent.parent / group / f"{name}.yaml") | (values.get(key) or {})
    return values


def _differences(part: Mapping[str, Any], option: Mapping[str, Any], prefix: str) -> Iterable[tuple[str, Any]]:
    for key, value in part.items():
        other = option.get(key)
        if isinstance(value, Mapping) and isinstance(other, Mapping):
            yield from _differences(value, other, f"{prefix}{key}.")
        elif not _same(value, other):
            yield f"{prefix}{key}", value


def _same(value: Any, other: Any) -> bool:
    """Is a resolved value what a file says? Interpolations are; `10e+6` is a number to Hydra, a text to YAML 1.1.

    >>> _same([{"a": 1e7}], [{"a": "10e+6"}]), _same("x", "${y}"), _same(1, 2), _same([1], [1, 2])
    (True, True, False, False)
    """
    if isinstance(value, Mapping) and isinstance(other, Mapping):
        return value.keys() == other.keys() and all(_same(value[key], other[key]) for key in value)
    if isinstance(value, list | tuple) and isinstance(other, list | tuple):
        return len(value) == len(other) and all(map(_same, value, other))
    if isinstance(other, str) and "${" in other:
        return True
    if isinstance(other, str) and isinstance(value, int | float):
        try:
            return float(other) == value
        except ValueError:
            return False
    return bool(value == other)


def _value(value: Any) -> str:
    """A value in Hydra's override grammar.

    >>> _value(None), _value(True), _value([1, "a b"]), _value({"x": "y"}), _value("relay")
    ('null', 'true', "[1,'a b']", '{x:y}', 'relay')
    """
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{key}:{_value(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ",".join(_value(inner) for inner in value) + "]"
    text = str(value)
    if PLAIN.fullmatch(text) and text not in ("null", "true", "false"):
        return text
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
