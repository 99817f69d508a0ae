"""Rules for the addresses of a cluster that makes its own, every broken one reported."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from ipaddress import IPv4Address, IPv4Network

from mimir.errors import Problem


def address_problems(
    addresses: object, room: Mapping[str, int], single: Iterable[str], where: str
) -> Iterator[Problem]:
    """`room` is how many addresses each network of `addresses` must have, `single` names single addresses; `where` is
    what to do about a problem."""
    for key, least in room.items():
        text = getattr(addresses, key)
        try:
            have = IPv4Network(text).num_addresses
        except ValueError:
            yield Problem(f"cluster.addresses.{key}", f"is no IPv4 network (got {text!r})", "e.g. 10.244.0.0/16", where)
            continue
        if have < least:
            yield Problem(f"cluster.addresses.{key}", f"is too small (got {text})", f"≥ {least} addresses", where)
    for key in single:
        text = getattr(addresses, key)
        try:
            IPv4Address(text)
        except ValueError:
            yield Problem(f"cluster.addresses.{key}", f"is no IPv4 address (got {text!r})", "e.g. 192.0.2.1", where)
