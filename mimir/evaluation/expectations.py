"""`evaluation.expect`: what a run must reach, checked for sense before the run and for truth after it."""

from __future__ import annotations

import operator
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from mimir.errors import Problem
from mimir.evaluation.metrics import MEASURES
from mimir.spec.exfiltration import PathClass

_OPERATORS = {">=": operator.ge, "<=": operator.le, ">": operator.gt, "<": operator.lt, "==": operator.eq}
_CONDITION = re.compile(r"\s*(>=|<=|==|>|<)\s*([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)\s*")
_WHERE = "conf/evaluation/*.yaml or on the command line: 'evaluation.expect={event_recall: \">=0.95\"}'"
CLASSES = tuple(c.value for c in PathClass if c is not PathClass.none)


@dataclass(frozen=True)
class Expectation:
    """One line of `evaluation.expect`, understood."""

    name: str
    window_s: int | None  #: None: the primary window length
    path_class: str | None  #: None: over all classes
    measure: str
    comparison: str
    bound: float

    def met(self, value: float) -> bool:
        """Does `value` satisfy the condition?"""
        return bool(_OPERATORS[self.comparison](value, self.bound))


def expectation_problems(expect: Mapping[str, str], windows_s: Iterable[int]) -> list[Problem]:
    """What is wrong with `evaluation.expect` for a run that scores these window lengths; call it before the run."""
    return [e for e in _parse_all(expect, sorted(windows_s)) if isinstance(e, Problem)]


def check_expectations(expect: Mapping[str, str], metrics: Mapping[str, Any]) -> list[Problem]:
    """Every expectation that metrics.json misses (an undefined measure misses it); empty when all are met."""
    lengths = sorted(int(w) for w in metrics["windows"])
    misses = (e if isinstance(e, Problem) else _miss(e, metrics) for e in _parse_all(expect, lengths))
    return [m for m in misses if m is not None]


def _miss(expectation: Expectation, metrics: Mapping[str, Any]) -> Problem | None:
    window_s = expectation.window_s or metrics["primary_window_s"]
    part = metrics["windows"][str(window_s)]
    measures = part["by_class"].get(expectation.path_class) if expectation.path_class else part["overall"]
    where, wanted = f"evaluation.expect.{expectation.name}", f"{expectation.comparison} {expectation.bound:g}"
    if measures is None:
        return Problem(where, f"is undefined: no incident of class {expectation.path_class} delivered bytes", wanted)
    found = measures[expectation.measure]
    if found["value"] is None:
        return Problem(where, f"is undefined: {found['reason']}", wanted)
    return None if expectation.met(found["value"]) else Problem(where, f"was missed (got {found['value']:.6g})", wanted)


def _parse_all(expect: Mapping[str, str], windows_s: list[int]) -> Iterator[Expectation | Problem]:
    return (_parse(name, condition, windows_s) for name, condition in expect.items())


def _parse(name: str, condition: str, windows_s: list[int]) -> Expectation | Problem:
    """`[w<seconds>.][by_class.<class>.]<measure>` and `<operator><number>`."""
    known = _known_names(windows_s)
    if name not in known:
        close = get_close_matches(name, known, n=3)
        hint = f"did you mean {' or '.join(close)}?" if close else f"set it in {_WHERE}"
        allowed = ", ".join(MEASURES) + "; also by_class.<class>.<measure>; w<seconds>. before either"
        return Problem(f"evaluation.expect.{name}", "is not a measure", allowed, hint)
    match = _CONDITION.fullmatch(str(condition))
    if match is None:
        return Problem(
            f"evaluation.expect.{name}",
            f"must be a comparison with a number (got {condition!r})",
            f"{' '.join(_OPERATORS)} and a number, e.g. '>=0.95'",
            f"set it in {_WHERE}",
        )
    window_s, path_class, measure = known[name]
    return Expectation(name, window_s, path_class, measure, match[1], float(match[2]))


def _known_names(windows_s: list[int]) -> dict[str, tuple[int | None, str | None, str]]:
    """Every name that may stand in `evaluation.expect`, with what it means."""
    out: dict[str, tuple[int | None, str | None, str]] = {}
    for window_s in (None, *windows_s):
        for path_class in (None, *CLASSES):
            prefix = (f"w{window_s}." if window_s else "") + (f"by_class.{path_class}." if path_class else "")
            out |= {f"{prefix}{m}": (window_s, path_class, m) for m in MEASURES}
    return out
