"""A leak over TCP: each hop of the path is an exchange on a connection of its own, played like any other call."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address
from itertools import islice
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mimir.apps.graph import allowed_edges
from mimir.cluster.simulated.channels import Channels, Line
from mimir.cluster.simulated.contents import fill
from mimir.cluster.simulated.layout import Layout
from mimir.cluster.simulated.player import Player
from mimir.cluster.simulated.tables import (
    ASKED,
    CLIENT,
    DONE,
    DURATION,
    LAST,
    PER_REQUEST,
    PIN,
    PUSHED,
    REPLIED,
    REQUEST,
    RESPONSE,
    SHARED,
    START,
    Ints,
    new_calls,
)  # fmt: skip
from mimir.exfiltration.channels import cloud_storage, content, tcp
from mimir.exfiltration.channels.content import Pair, Part
from mimir.exfiltration.channels.exchange import Exchange, Hop
from mimir.exfiltration.paths import OUTSIDE, Carriage
from mimir.exfiltration.plan import Incident, stolen_bytes
from mimir.spec.exfiltration import ExfiltrationSpec

_BUSY_NS, _BUSY_SIGMA = 1_000_000, 0.5  # reading a chunk and handing it to the socket
_RELAY_NS, _RELAY_SIGMA = 40_000_000, 0.8  # from having a chunk to passing it on: relays poll
_TRY_NS = 60_000_000  # between two tries to reach the right pod through a service address
_MISS_BYTES = 160  # a reply "404 Not Found" of a pod without a relay


@dataclass
class Leg:
    """One hop of one incident: what crosses it, on which connection; `tries` are pods reached before the right one."""

    hop: Hop
    line: Line
    misses: Line
    client: int
    server: int
    tries: NDArray[np.int64]

    @property
    def ports(self) -> tuple[int, int]:
        """Of the server, as seen at either place."""
        return self.line.channel.service_port, self.line.channel.target_port


class Say(NamedTuple):
    """One exchange on a hop: part `number` of what is said around `message` on its connection; the `last` one on it."""

    part: Part | Literal["message"]
    number: int
    message: int
    connection: int
    last: bool


class Relay:
    """One incident over TCP. `advance(until_ns)` plays the messages that leave the store before `until_ns`.

    `keep` says where contents are to be put for a capture that keeps them, `data` what the messages carry (the incident's
    own bytes, if it is left out), `chosen` the pods of some services, by number.
    """

    def __init__(
        self, spec: ExfiltrationSpec, layout: Layout, incident: Incident, channels: Channels, player: Player,
        seed: np.random.SeedSequence, keep: list[bytes] | None = None, data: Iterator[bytes] | None = None,
        chosen: Mapping[str, int] | None = None,
    ):  # fmt: skip
        self.incident, self._player, self._spec = incident, player, spec
        self._random = np.random.default_rng(seed)
        self._layout, self._played = layout, 0
        self._keep, self._data = keep, stolen_bytes(incident) if data is None else data
        drawn = {name: int(self._random.integers(max(1, len(layout.pods_of(name))))) for name in incident.path}
        chosen = drawn | dict(chosen or {})
        self.pods = tuple(self._pod(name, chosen[name]) for name in incident.path)
        edges = allowed_edges(layout.app)
        self._legs = [self._leg(hop, chosen, channels) for hop in tcp.hops(spec, incident, edges)]
        self._ack_ns = int(layout.cluster.transport.delayed_ack_ms * 1e6)
        self.left_ns: list[int] = []
        self.arrived_ns: list[int] = []

    def advance(self, until_ns: int) -> None:
        """Play the next messages; `left_ns` and `arrived_ns` then say when each left the store and arrived outside."""
        due = np.arange(self._played, np.searchsorted(self.incident.message_ns, until_ns))
        self._played += len(due)
        start_ns = self.incident.message_ns[due]
        stolen = list(islice(self._data, len(due))) if self._keep is not None else []
        for number, leg in enumerate(self._legs if len(due) else []):
            start_ns = np.maximum.accumulate(start_ns + self._search(leg, start_ns, first=bool(due[0] == 0)))
            everything, data = self._dressed(leg.hop, due, self._calls(leg, due, start_ns))
            packets = self._player.play(leg.line, everything, np.arange(len(everything)))
            if self._keep is not None:
                pairs = [self._written(leg.hop, say, stolen[say.message - due[0]]) for say in self._say(leg.hop, due)]
                fill(packets, pairs, leg.ports, self._keep)
            calls, pulled = everything[data], leg.hop.carriage is Carriage.pull and not leg.hop.one_way
            if number == 0:
                self.left_ns += (calls[:, REPLIED] if pulled else calls[:, START]).tolist()
            there_ns = calls[:, DONE if pulled else ASKED]
            start_ns = there_ns + (_RELAY_NS * self._random.lognormal(0, _RELAY_SIGMA, len(due))).astype(np.int64)
            if number == len(self._legs) - 1:
                self.arrived_ns += (there_ns + self._beyond_ns(leg)).tolist()
        for leg in self._legs:
            self._player.sweep(leg.line, until_ns)

    def _calls(self, leg: Leg, due: NDArray[np.int64], start_ns: Ints) -> Ints:
        calls = new_calls(len(due))
        calls[:, START], calls[:, CLIENT], calls[:, PIN] = start_ns, leg.client, leg.server
        calls[:, REQUEST], calls[:, RESPONSE] = leg.hop.request_bytes[due], leg.hop.response_bytes[due]
        calls[:, DURATION] = _BUSY_NS * self._random.lognormal(0, _BUSY_SIGMA, len(due))
        if leg.hop.one_way:  # the receiver's delayed acknowledgement comes before what is sent next
            calls[:, DURATION] += self._ack_ns
            calls[:, PUSHED] = leg.hop.carriage is Carriage.pull
        return calls

    def _dressed(self, hop: Hop, due: NDArray[np.int64], calls: Ints) -> tuple[Ints, NDArray[np.int64]]:
        """Calls with the exchanges that open and close connections and precede messages; rows of the messages."""
        rows, data = list[Ints](), list[int]()
        for say in self._say(hop, due):
            call = calls[say.message - due[0]]
            if say.part == "message":
                data.append(len(rows))
            exchanges = getattr(hop, say.part) if say.part != "message" else ()
            rows.append(call if say.part == "message" else self._extra(exchanges[say.number], call))
            if say.last:
                rows[-1][LAST] = 1
        return np.array(rows), np.array(data)

    def _say(self, hop: Hop, due: NDArray[np.int64]) -> Iterator[Say]:
        """What is said on a hop while these messages cross it, in order."""
        total = len(self.incident.message_ns) - 1
        for message in due.tolist():
            place = message % hop.per_connection if hop.per_connection else message
            connection = message // hop.per_connection if hop.per_connection else 0
            last = message == total or place == hop.per_connection - 1
            if place == 0:
                part: Part = "reopening" if message and hop.reopening else "opening"
                yield from (Say(part, k, message, connection, False) for k in range(len(getattr(hop, part))))
            yield from (Say("before", k, message, connection, False) for k in range(len(hop.before)))
            yield Say("message", 0, message, connection, last and not hop.closing)
            count = len(hop.closing) if last else 0
            yield from (Say("closing", k, message, connection, k == count - 1) for k in range(count))

    def _written(self, hop: Hop, say: Say, data: bytes) -> Pair:
        if say.part == "message":
            return content.message(self._spec, hop, data, say.message)
        return content.around(self._spec, hop, say.part, say.connection)[say.number]

    def _extra(self, exchange: Exchange, call: Ints) -> Ints:
        """The call of an exchange without stolen bytes, beside the call of a message."""
        extra = call.copy()
        extra[REQUEST], extra[RESPONSE], extra[PUSHED] = exchange
        silent = exchange.pushed or exchange.response_bytes == 0
        extra[DURATION], extra[LAST] = _BUSY_NS + (self._ack_ns if silent else 0), 0
        return extra

    def _search(self, leg: Leg, start_ns: Ints, *, first: bool) -> int:
        """Tries that reach other pods, before the first message; returns how long they take."""
        count = len(leg.tries) if first else 0
        if count:
            calls = new_calls(count)
            calls[:, START] = start_ns[0] + _TRY_NS * np.arange(count)
            calls[:, CLIENT], calls[:, PIN] = leg.client, leg.tries
            calls[:, REQUEST], calls[:, RESPONSE], calls[:, DURATION] = leg.hop.request_bytes[0], _MISS_BYTES, _BUSY_NS
            packets = self._player.play(leg.misses, calls, np.arange(count))
            if self._keep is not None:
                asked = content.message(self._spec, leg.hop, b"", 0)[0]
                fill(packets, [(asked, content.miss(_MISS_BYTES))] * count, leg.ports, self._keep)
        return count * _TRY_NS

    def _leg(self, hop: Hop, chosen: dict[str, int], channels: Channels) -> Leg:
        if hop.client == OUTSIDE:
            address = [self._outside_ip()]
            line, misses = (channels.from_outside(hop.server, address, p, 1, 0) for p in (SHARED, PER_REQUEST))
            misses.channel = misses.channel._replace(client_turn=line.channel.client_turn)
            client = 0
        else:
            client = chosen[hop.client]
            if hop.server == OUTSIDE:
                line = misses = self._collector(hop, channels)
            elif self.incident.by_pod:
                line, misses = (channels.to_pods(hop.client, hop.server, p) for p in (SHARED, PER_REQUEST))
            else:
                line, misses = (channels.between(hop.client, hop.server, p, 1) for p in (SHARED, PER_REQUEST))
        return Leg(hop, line, misses, client, chosen[hop.server], self._tries(hop, chosen[hop.server]))

    def _collector(self, hop: Hop, channels: Channels) -> Line:
        """Where the data goes in the end: the attacker's address, or a storage service under its name."""
        cloud = self._spec.cloud
        if self._spec.channel == "cloud_storage" and cloud:
            return channels.to_address(hop.client, int(IPv4Address(cloud.address)), cloud_storage.PORT, cloud.host)
        return channels.to_address(hop.client, self._layout.number("sink"), self._spec.port or 443)

    def _outside_ip(self) -> int:
        """Who asks at the entry: the first user where pages are stuffed, else an address that no user has."""
        layout = self._layout
        return layout.client_ip(0) if self.incident.channel == "response_stuffing" else layout.attacker_ip

    def _tries(self, hop: Hop, right: int) -> NDArray[np.int64]:
        """Pods a service address leads to before it leads to the right one; only pulls need a particular pod.

        An ordinary user does not search: the pod that answers is the one whose pages are stuffed. Nor does who uses the
        pod's own address.
        """
        if self.incident.by_pod and hop.client != OUTSIDE:
            return np.empty(0, dtype=np.int64)
        if hop.client == OUTSIDE and self.incident.channel == "response_stuffing":
            return np.empty(0, dtype=np.int64)
        count = len(self._layout.pods_of(hop.server))
        wrong = [i for i in range(count) if i != right]
        if not wrong or hop.carriage is not Carriage.pull:
            return np.empty(0, dtype=np.int64)
        misses = int(self._random.geometric(1 / count)) - 1
        return np.asarray(self._random.choice(wrong, misses), dtype=np.int64)

    def _beyond_ns(self, leg: Leg) -> int:
        """Half a round trip from the node to the collector."""
        channel = leg.line.channel
        return int(channel.client_turn[0] if leg.hop.client == OUTSIDE else channel.server_turn[0]) // 2

    def _pod(self, service: str, number: int) -> str:
        pods = self._layout.pods_of(service)
        return pods[number].name if pods else ""
