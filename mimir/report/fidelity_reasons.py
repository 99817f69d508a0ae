"""Why an edge of the simulated cluster differs from the real one: causes that were looked up in captures and code."""

from __future__ import annotations

from fnmatch import fnmatch
from typing import NamedTuple


class Reason(NamedTuple):
    """Of which edges (patterns of application, client, server) and measures; the cause in words."""

    app: str
    client: str
    server: str
    measures: tuple[str, ...]
    text: str


REASONS: tuple[Reason, ...] = ()


def reason_of(app: str, client: str, server: str, measure: str) -> str:
    """The first cause that fits, or that none is known."""
    for reason in REASONS:
        names = ((reason.app, app), (reason.client, client), (reason.server, server))
        if measure in reason.measures and all(fnmatch(value, pattern) for pattern, value in names):
            return reason.text
    return "not explained yet"
