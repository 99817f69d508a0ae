"""A leak in ICMP: the store pings a host outside, the payload of the echoes is the data."""

from __future__ import annotations

from itertools import islice

import numpy as np

from mimir.cluster.simulated import datagrams
from mimir.cluster.simulated.layout import Layout
from mimir.cluster.simulated.player import Player
from mimir.exfiltration.channels import icmp
from mimir.exfiltration.plan import Incident, stolen_bytes
from mimir.spec.exfiltration import IcmpSpec

_GAP_NS = 2_000_000  # between the echoes of one message


class Echoes:
    """One incident in ICMP. `keep` says where the payloads are to be put for a capture that keeps them."""

    def __init__(
        self, spec: IcmpSpec, layout: Layout, incident: Incident, keep: list[bytes] | None, player: Player,
        seed: np.random.SeedSequence,
    ):  # fmt: skip
        self._random = np.random.default_rng(seed)
        self.incident, self._spec, self._layout, self._player, self._keep = incident, spec, layout, player, keep
        numbers = layout.roster.of(incident.path[0])
        self._life = layout.roster.lives[numbers[int(self._random.integers(len(numbers)))]]
        self.pods = (self._life.pod.name, "")
        self._session = 1 + int(self._random.integers((1 << 16) - 1))
        self._data, self._played = stolen_bytes(incident), 0
        self._sent: list[bytes] = []
        self._message_of: list[int] = []
        self._left_ns: list[int] = []

    def advance(self, until_ns: int) -> None:
        """Send the messages that leave the store before `until_ns`."""
        due = range(self._played, int(np.searchsorted(self.incident.message_ns, until_ns)))
        self._played, first = due.stop, len(self._sent)
        at_ns: list[int] = []
        for message, data in zip(due, islice(self._data, len(due)), strict=True):
            payloads = icmp.encode(data, self._spec, self._session, len(self._sent))
            at_ns += [int(self.incident.message_ns[message]) + k * _GAP_NS for k in range(len(payloads))]
            self._sent += payloads
            self._message_of += [message] * len(payloads)
        sizes = np.array([len(payload) for payload in self._sent[first:]], dtype=np.int64)
        kept = np.full(len(sizes), -1)
        if self._keep is not None:
            kept = len(self._keep) + np.arange(len(sizes))
            self._keep += self._sent[first:]
        numbers = np.arange(first, len(self._sent)) % 0xFFFF + 1
        told = datagrams.Exchanges(np.array(at_ns, dtype=np.int64), sizes, sizes, kept, kept, numbers)
        far = (self._layout.number("sink"), 0)
        rows, left = datagrams.play(told, self._life, self._layout, far, self._session, self._random)
        self._player.add(rows)
        self._left_ns += left.tolist()

    @property
    def left_ns(self) -> list[int]:
        """When each message left the store: with its first echo."""
        return [int(at) for at in self.incident.message_ns[: self._played]]

    @property
    def arrived_ns(self) -> list[int]:
        """When the last echo of each message left the node; 0 if it never did."""
        return datagrams.arrivals(self._played, self._message_of, self._left_ns)

    def received(self, before_ns: int) -> bytes:
        """The data in the echoes that left the node before `before_ns`."""
        there = [payload for payload, at in zip(self._sent, self._left_ns, strict=True) if 0 < at < before_ns]
        return icmp.decode(there) if there else b""
