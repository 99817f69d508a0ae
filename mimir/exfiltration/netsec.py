"""A policy as plain sentences → allowed edges. The grammar is Mimir's own, after the research prototype's idea.

One sentence a line, `#` begins a comment, names are separated by commas or `and`, capitals in key words do not matter:

    front-end may talk to user, orders     connections to pods or to the service address
    user calls user-db                     connections to the service address only
    internet may talk to front-end         `internet` and `outside` are the world
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import pairwise

from mimir.errors import MimirError
from mimir.exfiltration.paths import OUTSIDE

_SENTENCE = re.compile(r"(?P<clients>.+?)\s+(?P<verb>may\s+talk\s+to|calls)\s+(?P<servers>.+)", re.IGNORECASE)
_NAME = re.compile(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?")
_WORLD = ("internet", OUTSIDE)


@dataclass(frozen=True)
class Policy:
    """Allowed (client, server) pairs, and those of them that go through the service address only."""

    edges: frozenset[tuple[str, str]]
    by_address: frozenset[tuple[str, str]]

    def reaches_pods(self, path: tuple[str, ...]) -> bool:
        """May every hop between services go to a pod's own address, and is there one?"""
        hops = [hop for hop in pairwise(path) if OUTSIDE not in hop]
        return bool(hops) and not any({hop, hop[::-1]} & self.by_address for hop in hops)


def parse_policy(text: str) -> Policy:
    """Policy of a text. MimirError names every line that is no sentence.

    >>> sorted(parse_policy("internet may talk to web\\nweb calls db").edges)
    [('outside', 'web'), ('web', 'db')]
    """
    talk, call, wrong = set[tuple[str, str]](), set[tuple[str, str]](), []
    for number, line in enumerate(text.splitlines(), 1):
        sentence = line.partition("#")[0].strip().rstrip(".")
        if not sentence:
            continue
        found = _SENTENCE.fullmatch(sentence)
        clients, servers = (_names(found[side]) for side in ("clients", "servers")) if found else ([], [])
        if not found or not clients or not servers:
            wrong.append(f"line {number}: {line.strip()!r}")
            continue
        pairs = {(client, server) for client in clients for server in servers if client != server}
        (call if found["verb"].lower() == "calls" else talk).update(pairs)
    if wrong:
        raise MimirError("no policy sentence (A may talk to B | A calls B): " + "; ".join(wrong))
    return Policy(frozenset(talk | call), frozenset(call - talk))


def _names(text: str) -> list[str]:
    """Names of a list; empty when one of them is not a name."""
    names = [name.strip().lower() for name in re.split(r",|\s+and\s+", text, flags=re.IGNORECASE) if name.strip()]
    if not all(_NAME.fullmatch(name) for name in names):
        return []
    return [OUTSIDE if name in _WORLD else name for name in names]
