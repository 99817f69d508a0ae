"""The leaks of a recording: planned incidents acted out beside the benign traffic, and the ledger of what arrived."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from itertools import islice

import numpy as np

from mimir.apps.graph import allowed_edges
from mimir.cluster.base import RecordingOrder
from mimir.cluster.simulated.channels import Channels
from mimir.cluster.simulated.echoes import Echoes
from mimir.cluster.simulated.fan import Fan
from mimir.cluster.simulated.layout import Layout
from mimir.cluster.simulated.names import Names
from mimir.cluster.simulated.player import Player, no_lookups
from mimir.cluster.simulated.relay import Relay
from mimir.cluster.simulated.tables import Ints, Rows
from mimir.cluster.simulated.tunnel import Tunnel
from mimir.exfiltration.ledger import LedgerEntry
from mimir.exfiltration.plan import Incident, World, digest, plan_incidents, stolen_bytes
from mimir.load.profile import users_at
from mimir.spec import Spec
from mimir.units import NS_PER_S

Act = Relay | Fan | Tunnel | Echoes
_POINT_NS = NS_PER_S  # points of the ledger are at least this far apart


class Leak:
    """Acts out the incidents of one recording. Its draws are its own: without it the benign packets are the same."""

    def __init__(
        self, spec: Spec, layout: Layout, order: RecordingOrder, messages: list[bytes], seed: np.random.SeedSequence
    ):
        world = World(allowed_edges(spec.app), partial(users_at, spec.load.of(order.name)), order.baseline)
        incidents = plan_incidents(spec.exfiltration, order.start_s, order.duration_s, order.entropy, world)
        self._recording, self._end_ns = order.name, (order.start_s + order.duration_s) * NS_PER_S
        channels, player, *own = seed.spawn(2 + len(incidents))
        cloud = spec.exfiltration.cloud
        names = Names(layout, messages, {cloud.host: cloud.address} if cloud else {})
        self._builder = Channels(layout, names, np.random.default_rng(channels), moves=True)
        self._player, self._names, self._layout = Player(layout, names, player), names, layout
        self._spec = spec.exfiltration
        self._keep = messages if spec.capture.payload == "all" else None
        self._acts = [self._act(incident, s) for incident, s in zip(incidents, own, strict=True)]

    def _act(self, incident: Incident, seed: np.random.SeedSequence) -> Act:
        """Who acts an incident out."""
        spec, layout, player = self._spec, self._layout, self._player
        if spec.channel == "dns_tunnel" and spec.dns:
            return Tunnel(spec.dns, layout, incident, self._names, player, seed)
        if spec.channel == "icmp" and spec.icmp:
            return Echoes(spec.icmp, layout, incident, self._keep, player, seed)
        if spec.fan and incident.branches:
            return Fan(layout, incident, spec.fan.kind, self._relay, seed)
        return Relay(spec, layout, incident, self._builder, player, seed, self._keep)

    def _relay(
        self, incident: Incident, data: Iterator[bytes], chosen: dict[str, int], seed: np.random.SeedSequence
    ) -> Relay:
        return Relay(self._spec, self._layout, incident, self._builder, self._player, seed, self._keep, data, chosen)

    def slice(self, until_ns: int) -> list[Rows]:
        """Packets of everything that leaves a store before `until_ns`; some lie later, none before the last slice."""
        for act in self._acts:
            act.advance(until_ns)
        self._player.resolve(no_lookups())
        return self._player.take()

    def ledger(self) -> list[LedgerEntry]:
        """What arrived outside before the recording ended."""
        return [_entry(act, self._recording, self._end_ns) for act in self._acts]


def _entry(act: Act, recording: str, end_ns: int) -> LedgerEntry:
    incident = act.incident
    sizes = incident.message_bytes[: len(act.arrived_ns)]
    arrived = np.array(act.arrived_ns, dtype=np.int64)
    whole = (arrived > 0) & (arrived < end_ns)
    turn = np.argsort(arrived[whole], kind="stable")
    points = tuple(_points(arrived[whole][turn], np.cumsum(sizes[whole][turn])))
    start = min(act.left_ns, default=round(incident.start_s * NS_PER_S)) / NS_PER_S
    received = [act.received(end_ns)] if isinstance(act, Tunnel | Echoes) else _kept(incident, whole.tolist())
    return LedgerEntry(
        incident=incident.name, recording=recording, start=start, end=points[-1][0] if points else start,
        channel=incident.channel, technique=incident.technique, path_class=incident.path_class, path=incident.path,
        pods=act.pods, bytes_intended=incident.bytes_intended, bytes_delivered=int(sizes[whole].sum()),
        sha256_sent=digest(islice(stolen_bytes(incident), len(act.left_ns))), sha256_received=digest(received),
        delivered=points,
    )  # fmt: skip


def _kept(incident: Incident, whole: list[bool]) -> Iterator[bytes]:
    return (data for data, there in zip(stolen_bytes(incident), whole, strict=False) if there)


def _points(arrived: Ints, total: Ints) -> Iterator[tuple[float, int]]:
    """(time, bytes arrived up to then), thinned to about one a second; the last one always."""
    last_ns = 0
    for i, (at, count) in enumerate(zip(arrived.tolist(), total.tolist(), strict=True)):
        if at - last_ns >= _POINT_NS or i == len(arrived) - 1:
            yield at / NS_PER_S, count
            last_ns = at
