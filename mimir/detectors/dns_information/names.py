"""DNS queries of a series as (window, time, pod, domain, rest, type), stripped of what never leaves the cluster."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from mimir.detectors.messages import messages_with
from mimir.flows.edges import EdgeSeries, is_outside

COLUMNS = ("dns.qry.name", "dns.qry.type", "dns.flags.response")
YES = frozenset({"1", "True", "true"})
#: second labels under which names are registered one level deeper (co.uk, com.au, …), below a country's two letters
REGISTRIES = frozenset({"ac", "co", "com", "edu", "gov", "net", "org"})


class Query(NamedTuple):
    """One query of a pod for a name outside."""

    window: int
    ts: float
    pod: str
    domain: str  #: registered domain
    rest: str  #: what stands before it, "" for the domain itself
    kind: str  #: record type, a number as text


def outside_name(name: str, cluster_domain: str, search: Sequence[str]) -> str:
    """The name as it leaves the cluster: lower case, search domains off, "" for names that the cluster answers itself.

    >>> outside_name("db.shop.svc.cluster.local", "cluster.local", [])
    ''
    >>> outside_name("Updates.example.com.corp.example", "cluster.local", ["corp.example"])
    'updates.example.com'
    """
    name = name.lower().rstrip(".")
    if name == cluster_domain or name.endswith(f".{cluster_domain}"):
        return ""
    for suffix in search:
        short = name.removesuffix(f".{suffix}")
        if short != name and "." in short:
            return short
    return name


def registered_domain(name: str) -> tuple[str, str]:
    """(registered domain, what stands before it), by the shape of public suffixes: the last two labels, or three.

    >>> registered_domain("a.b.example.co.uk"), registered_domain("x.example.com")
    (('example.co.uk', 'a.b'), ('example.com', 'x'))
    """
    labels = name.split(".")
    deep = len(labels) > 2 and len(labels[-1]) == 2 and labels[-2] in REGISTRIES
    keep = 3 if deep else 2
    return ".".join(labels[-keep:]), ".".join(labels[:-keep])


def queries_of(series: EdgeSeries, cluster_domain: str, search: Sequence[str]) -> list[Query] | None:
    """Queries of pods in time order; None where the series has no names. Resolvers only pass on: theirs are left out."""
    table = messages_with(series, COLUMNS)
    if table is None:
        return None
    table = table[~table[COLUMNS[2]].isin(YES)]
    resolvers = set(table["receiver"])
    out = []
    for row in table.itertuples(index=False):
        window, ts, pod, _, _, name, kind, _ = row
        if pod in resolvers or is_outside(pod):
            continue
        plain = outside_name(str(name).split(",")[0], cluster_domain, search)
        if plain:
            out.append(Query(int(window), float(ts), str(pod), *registered_domain(plain), str(kind)))
    return out
