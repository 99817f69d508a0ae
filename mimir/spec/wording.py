"""What pydantic finds wrong with a value, in this project's words: what is wrong with it and what is allowed."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

#: kind of error, without its ending → what is wrong, what is allowed
_WORDS = {
    "int": ("is not a whole number", "a whole number such as 60"),
    "float": ("is not a number", "a number such as 0.5 or 60"),
    "finite": ("is not a finite number", "a number such as 0.5 or 60"),
    "bool": ("is neither true nor false", "true, false"),
    "string": ("is not a text", "a text; put figures into quotes"),
    "list": ("is not a list", "a list such as [60,10]"),
    "tuple": ("is not a list", "a list such as [60,10]"),
    "dict": ("is not a set of keys", "{key: value, …}"),
    "dataclass": ("is not a set of keys", "{key: value, …}"),
    "model": ("is not a set of keys", "{key: value, …}"),
}
_LIMITS = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}


def words_of(error: Mapping[str, Any], known: list[str]) -> tuple[str, str]:
    """What is wrong and what is allowed, of one of pydantic's errors; `known` are the keys allowed at its place, if any.

    >>> words_of({"type": "int_parsing", "input": "many", "msg": "Input should be a valid integer"}, [])
    ("is not a whole number (got 'many')", 'a whole number such as 60')
    >>> words_of({"type": "greater_than_equal", "input": 0, "ctx": {"ge": 1}, "msg": ""}, [])
    ('is out of range (got 0)', '≥ 1')
    """
    got = "" if isinstance(error["input"], dict | list) else f" (got {_shown(error['input'])})"
    context = error.get("ctx", {})
    limit = next((f"{sign} {context[key]}" for key, sign in _LIMITS.items() if key in context), None)
    if limit:
        return f"is out of range{got}", limit
    if "expected" in context:
        return f"is none of the options{got}", ", ".join(options_of(str(context["expected"])))
    what, allowed = _WORDS.get(str(error["type"]).split("_")[0], ("", ""))
    if what:
        return f"{what}{got}", f"{{{', '.join(f'{key}: …' for key in known)}}}" if known else allowed
    return f"is wrong: {error['msg'][0].lower()}{error['msg'][1:]}{got}", ""


def options_of(expected: str) -> list[str]:
    """The names in pydantic's "'a', 'b' or 'c'".

    >>> options_of("'a', 'b' or 'c'")
    ['a', 'b', 'c']
    """
    return re.findall(r"'([^']+)'", expected)


def _shown(value: Any) -> str:
    """As YAML writes it."""
    return {"None": "null", "True": "true", "False": "false"}.get(repr(value), repr(value))
