"""What `channel: synthetic` plans: the incidents of a recording as stolen bytes at times, no packets.

It stands for the way leaks were made in the research that Mimir grew from: bytes are added to benign edges of a graph. For
comparison only; whoever judges a detector uses a channel that transmits.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mimir.apps.graph import allowed_edges
from mimir.cluster.base import RecordingOrder
from mimir.exfiltration.ledger import LedgerEntry, write_ledger
from mimir.exfiltration.paths import OUTSIDE, carriages
from mimir.exfiltration.plan import Incident, World, digest, plan_incidents, stolen_bytes
from mimir.load.profile import users_at
from mimir.spec import Spec
from mimir.units import NS_PER_S

CHANNEL = "synthetic"
_PODS = 0x504F4453  # keeps the stream that draws pods apart
_POINT_NS = NS_PER_S


@dataclass(frozen=True, eq=False)
class Addition:
    """Bytes that one hop carries: `sizes[i]` at `ts_ns[i]`, from `client` to `server` or (`pulled`) the other way.

    Names are (pod, service); of the world beyond the cluster both are "outside".
    """

    client: tuple[str, str]
    server: tuple[str, str]
    pulled: bool
    ts_ns: NDArray[np.int64]
    sizes: NDArray[np.int64]


def is_synthetic(spec: Spec) -> bool:
    """Are the leaks of this spec arithmetic on edges?"""
    return spec.exfiltration.channel == CHANNEL


def plan(
    spec: Spec, order: RecordingOrder, entities: Sequence[Mapping[str, Any]]
) -> tuple[list[Addition], list[LedgerEntry]]:
    """What to add to the edges of a recording, and the ledger of it. A function of spec, order and the pods there.

    Every window length and view is to be made from the same additions: that one draw decides them all.
    """
    edges = allowed_edges(spec.app)
    world = World(edges, partial(users_at, spec.load.of(order.name)), order.baseline)
    incidents = plan_incidents(spec.exfiltration, order.start_s, order.duration_s, order.entropy, world)
    random = np.random.default_rng(np.random.SeedSequence((*order.entropy, _PODS)))
    additions, entries = [], []
    for incident in incidents:
        pods = [_pod(name, incident.start_s, entities, random) for name in incident.path]
        ends = list(zip(pods, incident.path, strict=True))
        for source, target, how in zip(ends, ends[1:], carriages(incident.path, edges), strict=False):
            pulled = how == "pull"
            client, server = (target, source) if pulled else (source, target)
            additions.append(Addition(client, server, pulled, incident.message_ns, incident.message_bytes))
        entries.append(_entry(incident, order, tuple(pod if pod != OUTSIDE else "" for pod in pods)))
    return additions, entries


def write_entries(path: Path, entries: Sequence[LedgerEntry]) -> None:
    """The ledger's file, as `mimir.exfiltration.ledger` writes it."""
    write_ledger(path, entries)


def _pod(service: str, at_s: float, entities: Sequence[Mapping[str, Any]], random: np.random.Generator) -> str:
    """A pod of a service that is there at a time; "outside" for the world."""
    there: dict[str, None] = {}
    for row in entities:
        if row["kind"] == "pod" and row.get("workload") == service and row["ts"] <= at_s:
            if row["event"] == "deleted":
                there.pop(row["name"], None)
            else:
                there[row["name"]] = None
    names = sorted(there)
    return names[int(random.integers(len(names)))] if names else service


def _entry(incident: Incident, order: RecordingOrder, pods: tuple[str, ...]) -> LedgerEntry:
    """The ledger's line: everything arrives the moment it leaves."""
    total, points, last_ns = np.cumsum(incident.message_bytes), [], 0
    for i, at in enumerate(incident.message_ns.tolist()):
        if at - last_ns >= _POINT_NS or i == len(total) - 1:
            points.append((at / NS_PER_S, int(total[i])))
            last_ns = at
    sha256 = digest(stolen_bytes(incident))
    return LedgerEntry(
        incident=incident.name, recording=order.name, start=int(incident.message_ns[0]) / NS_PER_S, end=points[-1][0],
        channel=CHANNEL, technique=incident.technique, path_class=incident.path_class, path=incident.path, pods=pods,
        bytes_intended=incident.bytes_intended, bytes_delivered=incident.bytes_intended, sha256_sent=sha256,
        sha256_received=sha256, delivered=tuple(points),
    )  # fmt: skip
