"""Composed config → typed Spec, with every problem found at once."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass, replace
from difflib import get_close_matches
from functools import cache
from typing import Any, get_args, get_type_hints

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import TypeAdapter, ValidationError

from mimir.errors import Problem, SpecError
from mimir.spec.detector import PyodName
from mimir.spec.partial import rule_problems
from mimir.spec.schema import Spec
from mimir.spec.validate import RULES, validate
from mimir.spec.wording import options_of, words_of

_KEYS = ("unexpected_keyword_argument", "extra_forbidden", "missing")
_TYPE = re.compile(
    r"(str|int|float|bool|list|dict|tuple)\b|[A-Z]\w*(Spec)?$"
)  #: how pydantic names the members of a union
_UNKNOWN_TAG = ("union_tag_invalid", "union_tag_not_found")
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
        keys, values = [e for e in wrong if e["type"] in _KEYS], [e for e in wrong if e["type"] not in _KEYS]
        raise SpecError([*_values(values, plain), *_misnamed(keys, plain), *broken]) from None
    problems = [*_truths(plain, spec, [], plain), *(validate(spec) if check else [])]
    if problems:
        raise SpecError(problems)
    return spec


def _truths(plain: Any, typed: Any, where: list[str], whole: Mapping[str, Any]) -> Iterator[Problem]:
    """true and false where a number is wanted: pydantic takes them for 1 and 0."""
    if isinstance(plain, bool):
        if isinstance(typed, int | float) and not isinstance(typed, bool):
            yield Problem(".".join(where), f"is not a number (got {str(plain).lower()})", next=_set_it(where, whole))
    elif isinstance(plain, Mapping):
        for key, value in plain.items():
            inner = typed.get(key) if isinstance(typed, Mapping) else getattr(typed, str(key), None)
            yield from _truths(value, inner, [*where, str(key)], whole)
    elif isinstance(plain, list | tuple) and isinstance(typed, list | tuple):
        for number, (value, inner) in enumerate(zip(plain, typed, strict=False)):
            yield from _truths(value, inner, [*where, str(number)], whole)


def from_config(config: DictConfig) -> Spec:
    """Typed spec from what Hydra composed."""
    return from_plain(to_plain(config))


def to_dict(spec: Spec) -> dict[str, Any]:
    """JSON-able nested dict of a spec; `from_plain` is its inverse."""
    plain: dict[str, Any] = _adapter().dump_python(spec, mode="json")
    return plain


def _values(errors: list[dict[str, Any]], plain: Mapping[str, Any]) -> list[Problem]:
    """One problem a place: a value that is no member of a union is wrong once, and what is wrong inside it says more."""
    found = {id(e): _location(e["loc"], plain) for e in errors}
    inner = [e for e in errors if not any(_inside(other, found[id(e)]) for other in found.values())]
    out: dict[str, Problem] = {}
    for problem in (_problem(e, plain) for e in inner):
        before = out.get(problem.where)
        if before:
            problem = replace(before, allowed=f"{before.allowed}, or {problem.allowed}")
        out[problem.where] = problem
    return list(out.values())


def _inside(location: list[str], outer: list[str]) -> bool:
    return len(location) > len(outer) and location[: len(outer)] == outer


def _problem(error: dict[str, Any], plain: Mapping[str, Any]) -> Problem:
    """One pydantic error as a Problem with the dotted key, what is allowed and what to do."""
    location = _location(error["loc"], plain)
    where = ".".join(location)
    if error["type"] in _UNKNOWN_TAG:
        return _unknown_tag(error, location, plain)
    what, allowed = words_of(error, _known_keys(location, plain) if error["type"] == "dataclass_type" else [])
    close = get_close_matches(str(error["input"]), options_of(str(error.get("ctx", {}).get("expected", ""))), n=1)
    return Problem(where, what, allowed, f"did you mean {close[0]}?" if close else _set_it(location, plain))


def _unknown_tag(error: dict[str, Any], location: list[str], plain: Mapping[str, Any]) -> Problem:
    """A `name` that no option of a group has: the options of that group, and how one is chosen."""
    group, ctx = ".".join(location), error.get("ctx", {})
    allowed, where = sorted(options_of(str(ctx.get("expected_tags", "")))), f"{group}.name"
    if group == "detector":  # PyOD's estimators have a detector of their own
        node = plain["detector"]
        of_pyod = isinstance(node, Mapping) and "params" in node
        allowed = [name for name in allowed if (name in get_args(PyodName)) == of_pyod]
        if of_pyod:
            close = get_close_matches(str(ctx.get("tag")), allowed, n=1)
            hint = f"did you mean detector.name={close[0]}?" if close else "set it in conf/detector/pyod.yaml"
            return Problem(where, f"is not an estimator of PyOD (got {ctx.get('tag')!r})", ", ".join(allowed), hint)
    close = get_close_matches(str(ctx.get("tag")), allowed, n=1)
    hint = f"did you mean {group}={close[0]}?" if close else f"choose one: {group}=NAME"
    got = f"is not an option of conf/{group}/ (got {ctx['tag']!r})" if "tag" in ctx else "is missing"
    return Problem(where, got, ", ".join(allowed), hint)


def _misnamed(errors: list[dict[str, Any]], plain: Mapping[str, Any]) -> Iterator[Problem]:
    """Keys that a group does not have and keys that it lacks: where both occur in one group, one is the other misspelt."""
    groups: dict[tuple[str, ...], tuple[list[str], list[str]]] = {}
    for error in errors:
        place = _location(error["loc"], plain)
        groups.setdefault(tuple(place[:-1]), ([], []))[error["type"] == "missing"].append(place[-1])
    for parent, (unknown, lacking) in groups.items():
        known, prefix = sorted(_known_keys(list(parent), plain)), "".join(f"{part}." for part in parent)
        close = {
            key: get_close_matches(key, lacking or known, n=1) or get_close_matches(key, known, n=1) for key in unknown
        }
        if not lacking:
            for key in unknown:
                hint = f"did you mean {prefix}{close[key][0]}?" if close[key] else "remove it"
                yield Problem(f"{prefix}{key}", "is not a key of this group", ", ".join(known), hint)
            continue
        what = "is missing" if len(lacking) == 1 else "are missing"
        what += f", and there is no key {', '.join(unknown)}" if unknown else ""
        meant = [prefix + close[key][0] for key in unknown if close[key]]
        hint = f"did you mean {', '.join(meant)}?" if meant else _set_it([*parent, lacking[0]], plain)
        yield Problem(f"{prefix}{', '.join(lacking)}", what, ", ".join(known), hint)


def _set_it(location: list[str], plain: Mapping[str, Any]) -> str:
    return f"set it in {_yaml_of(location, plain)} or on the command line"


def _location(loc: tuple[Any, ...], plain: Mapping[str, Any]) -> list[str]:
    """Dotted path of an error; the names that pydantic adds for unions are left out."""
    path: list[str] = []
    node: Any = plain
    for part in loc:
        if isinstance(node, Mapping) and part not in node and node.get("name") == part:
            continue
        if (
            isinstance(part, str)
            and not (part in node if isinstance(node, Mapping) else node is None)
            and _TYPE.match(part)
        ):
            continue
        path.append(str(part))
        if isinstance(node, Mapping):
            node = node.get(part)
        else:
            node = node[part] if isinstance(node, list) and part < len(node) else None
    return path


def _yaml_of(location: list[str], plain: Mapping[str, Any]) -> str:
    group = location[0]
    if group not in _GROUPS:
        return "conf/config.yaml"
    node = plain.get(group)
    name = node.get("name") if isinstance(node, Mapping) else None
    if not isinstance(name, str) or location[1:] == ["name"]:
        return f"conf/{group}/"
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
