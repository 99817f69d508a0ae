"""Rules for what is right in a spec of which some values have the wrong type, so that one run tells of both."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, cast

from mimir.errors import Problem
from mimir.spec.schema import Spec


class Absent(Exception):
    """A rule asked for a value whose type is wrong."""


class Partial:
    """A spec, or a group of one, without its wrong values: asking for one of those raises Absent."""

    def __init__(self, values: Mapping[str, Any], kind: type | None = None):
        self._values, self._kind = values, kind

    def __getattr__(self, name: str) -> Any:
        if name in self._values:
            value = self._values[name]
            return Partial(value) if isinstance(value, Mapping) else value
        method = getattr(self._kind, name, None)
        if callable(method):
            return lambda *arguments: method(self, *arguments)
        raise Absent(name)


def rule_problems(
    plain: Mapping[str, Any], wrong: Iterable[list[str]], rules: Iterable[Callable[[Spec], Iterable[Problem]]]
) -> Iterator[Problem]:
    """Broken rules among the values of `plain` that are not `wrong` (their paths). A rule that needs one of those says
    what it found before."""
    values = _without(plain, list(wrong))
    spec = cast(Spec, Partial(values, Spec))
    for rule in rules:
        try:
            yield from rule(spec)
        except (Absent, TypeError):  # TypeError: text that the typed spec would have taken for a number
            continue


def _without(node: Mapping[str, Any], wrong: list[list[str]]) -> dict[str, Any]:
    """A copy without the values at some paths; what stands below a wrong value goes with it."""
    out = {}
    for name, value in node.items():
        below = [path[1:] for path in wrong if path[:1] == [str(name)]]
        if [] not in below:
            out[str(name)] = _without(value, below) if isinstance(value, Mapping) else value
            if below and not isinstance(value, Mapping):  # an item of a list is wrong
                del out[str(name)]
    return out
