"""Overrides for one of several things on a command line: `wordpress:load.users=5`, `benchmark_mix:seed=1,2,3`."""

from __future__ import annotations

from collections.abc import Sequence

from mimir.errors import Problem, SpecError


def overrides_of(name: str, words: Sequence[str]) -> list[str]:
    """What applies to `name`: overrides of all, then those written `name:key=value` for it alone, which win.

    >>> overrides_of("sockshop", ["load.users=20", "sockshop:load.users=5", "wordpress:load.users=9"])
    ['load.users=20', 'load.users=5']
    """
    split = [(_scope(word), word) for word in words]
    return [word for scope, word in split if not scope] + [w.partition(":")[2] for scope, w in split if scope == name]


def check_scopes(names: Sequence[str], words: Sequence[str]) -> None:
    """SpecError for overrides of something that is not there: they would change nothing."""
    odd = [(word, _scope(word)) for word in words if _scope(word) and _scope(word) not in names]
    if odd:
        raise SpecError([Problem(word, f"changes {scope}, which is not asked for", ", ".join(names)) for word, scope in odd])  # fmt: skip


def _scope(word: str) -> str:
    """The name before a colon that comes before the first `=`; empty for an override of all.

    >>> _scope("a:x=1"), _scope("x={a:1}"), _scope("exfiltration@evaluation.train=none")
    ('a', '', '')
    """
    key = word.partition("=")[0]
    return key.partition(":")[0] if ":" in key else ""
