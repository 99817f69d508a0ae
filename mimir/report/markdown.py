"""Tables of generated pages."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def markdown(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table, first column left, the others right.

    >>> print(markdown(["edge", "n"], [["a → b", "3"]]))
    | edge | n |
    | --- | ---: |
    | a → b | 3 |
    """
    lines = [" | ".join(head), " | ".join(["---", *["---:"] * (len(head) - 1)]), *(" | ".join(row) for row in rows)]
    return "\n".join(f"| {line} |" for line in lines)
