"""Benign triggers as they went, as entries of the truth ledger: no leak, but a reason to look odd."""

from __future__ import annotations

from collections.abc import Sequence

from mimir.cluster.base import RecordingOrder
from mimir.cluster.simulated.triggers import Happened
from mimir.exfiltration.ledger import BENIGN, LedgerEntry
from mimir.exfiltration.plan import digest
from mimir.units import NS_PER_S


def benign_entries(happened: Sequence[Happened], order: RecordingOrder) -> list[LedgerEntry]:
    """One entry a trigger; `path` are the services and `pods` the names of the pods it touched, joined by commas."""
    return [_entry(h, order) for h in happened if h.planned.start_ns < (order.start_s + order.duration_s) * NS_PER_S]


def _entry(happened: Happened, order: RecordingOrder) -> LedgerEntry:
    planned = happened.planned
    nothing = digest([])
    owners = {name: _owner(name, happened.services) for name in happened.pods}
    pods = tuple(",".join(name for name, owner in owners.items() if owner == service) for service in happened.services)
    return LedgerEntry(
        incident=f"{planned.kind}-{planned.number}", recording=order.name, start=planned.start_ns / NS_PER_S,
        end=min(happened.end_ns / NS_PER_S, float(order.start_s + order.duration_s)), channel="benign",
        technique=planned.spec.resembles, path_class=f"{BENIGN}{planned.kind}", path=tuple(happened.services), pods=pods,
        bytes_intended=happened.bytes_intended, bytes_delivered=happened.bytes_delivered, sha256_sent=nothing, sha256_received=nothing, delivered=(),
    )  # fmt: skip


def _owner(pod: str, services: Sequence[str]) -> str:
    """The service of a pod: its name begins with it, and of two such services the longer one is meant.

    >>> _owner("user-db-0", ["user", "user-db"])
    'user-db'
    """
    return max((service for service in services if pod.startswith(f"{service}-")), key=len, default="")
