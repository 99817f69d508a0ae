"""Composed config → typed Spec, with every problem found at once."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from difflib import get_close_matches
from functools import cache
from typing import Any, get_args, get_type_hints

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import TypeAdapter, ValidationError

from mimir.errors import Problem, SpecError
from mimir.spec.partial import rule_problems
from mimir.spec.schema import Spec
from mimir.spec.validate import RULES, validate

_UNKNOWN_KEY = ("unexpected_keyword_argument", "extra_forbidden")
_GROUPS = ("app", "cluster", "load", "exfiltration", "capture", "detector", "evaluation", "tracking")


@cache
def _adapter() -> TypeAdapter[Spec]:
    return TypeAdapter(Spec)


def to_plain(config: DictConfig) -> dict[str, Any]:
    """Resolve interpolations and drop Hydra's own node. Raises SpecError on a broken interpolation or a missing value."""
    config = config.copy()
    OmegaConf.set_struct(config, False)
    config.pop("hydra", None)
    try:
        missing = sorted(OmegaConf.missing_keys(config))
        if missing:
            raise SpecError([Problem(key, "has no value", next=f"set it: {key}=…") for key in missing])
        plain = OmegaConf.to_container(config, resolve=True)
    except OmegaConfBaseException as error:
        key, text = str(error.full_key or "spec"), str(error.msg).splitlines()[0]
        raise SpecError([Problem(key, f"cannot be resolved: {text}", next=f"set it: {key}=…")]) from error
    assert isinstance(plain, dict)
    return {str(k): v for k, v in plain.items()}


def from_plain(plain: Mapping[str, Any], check: bool = True) -> Spec:
    """Typed spec from nested dicts. Raises SpecError with all problems: types, unknown keys, and with `check` rules too.

    Where types are wrong, broken rules among the other values are told as well: the run ends there in any case.
    """
    try:
        spec = _adapter().validate_python(dict(plain))
    except ValidationError as error:
        wrong: list[dict[str, Any]] = [dict(e) for e in error.errors(include_url=False)]
        broken = rule_problems(plain, [_location(e["loc"], plain) for e in wrong], RULES)
        raise SpecError([*(_problem(e, plain) for e in wrong), *broken]) from None
    problems = validate(spec) if check else []
    if problems:
        raise SpecError(problems)
    return spec


def from_config(config: DictConfig) -> Spec:
    """Typed spec from what Hydra composed."""
    return from_plain(to_plain(config))


def to_dict(spec: Spec) -> dict[str, Any]:
    """JSON-able nested dict of a spec; `from_plain` is its inverse."""
    plain: dict[str, Any] = _adapter().dump_python(spec, mode="json")
    return plain


def _problem(error: dict[str, Any], plain: Mapping[str, Any]) -> Problem:
    """One pydantic error as a Problem with the dotted key, what is allowed and what to do."""
    location = _location(error["loc"], plain)
    where = ".".join(location)
    next_step = f"set it in {_yaml_of(location, plain)} or on the command line"
    if error["type"] in _UNKNOWN_KEY:
        known = _known_keys(location[:-1], plain)
        close = get_close_matches(location[-1], known, n=1)
        hint = f"did you mean {'.'.join([*location[:-1], close[0]])}?" if close else "remove it"
        return Problem(where, "is not a key of this group", ", ".join(sorted(known)), hint)
    got = f" (got {error['input']!r})" if not isinstance(error["input"], dict | list) else ""
    expected = str(error.get("ctx", {}).get("expected", ""))
    close = get_close_matches(str(error["input"]), re.findall(r"'([^']+)'", expected), n=1)
    hint = f"did you mean {close[0]}?" if close else next_step
    message = error["msg"][0].lower() + error["msg"][1:]
    return Problem(where, f"is wrong: {message}{got}", expected.replace("'", ""), hint)


def _location(loc: tuple[Any, ...], plain: Mapping[str, Any]) -> list[str]:
    """Dotted path of an error; the names that pydantic adds for tagged unions are left out."""
    path, node = [], plain
    for part in loc:
        if isinstance(node, Mapping) and part not in node and node.get("name") == part:
            continue
        path.append(str(part))
        node = node.get(part, {}) if isinstance(node, Mapping) else {}
    return path


def _yaml_of(location: list[str], plain: Mapping[str, Any]) -> str:
    group = location[0]
    if group not in _GROUPS:
        return "conf/config.yaml"
    node = plain.get(group)
    name = node.get("name", "default") if isinstance(node, Mapping) else "default"
    return f"conf/{group}/{name}.yaml"


def _known_keys(parent: list[str], plain: Mapping[str, Any]) -> list[str]:
    """Keys the schema allows at `parent`; falls back to the keys present there."""
    kind: Any = Spec
    node: Any = plain
    for part in parent:
        node = node.get(part, {}) if isinstance(node, Mapping) else {}
        kind = _field_type(kind, part, node)
    if is_dataclass(kind):
        return [f.name for f in fields(kind)]
    return [str(k) for k in node] if isinstance(node, Mapping) else []


def _field_type(kind: Any, name: str, node: Any) -> Any:
    """Type of field `name` of dataclass `kind`; for a tagged union the member whose `name` is in `node`."""
    if not is_dataclass(kind):
        return None
    hint = get_type_hints(kind).get(name)
    options = [o for o in (hint, *get_args(hint)) if is_dataclass(o)]
    wanted = node.get("name") if isinstance(node, Mapping) else None
    for option in options:
        if wanted in get_args(get_type_hints(option).get("name")):
            return option
    return options[0] if options else None
