"""Call tables and look-ups → packets, with everything that must be remembered from one slice to the next."""

from __future__ import annotations

import numpy as np

from mimir.cluster.simulated import frames, play, resolve
from mimir.cluster.simulated.channels import Line, transport_of
from mimir.cluster.simulated.layout import Layout
from mimir.cluster.simulated.names import Names
from mimir.cluster.simulated.resolve import AT, LOOKUP_COLUMNS, NAME, POD
from mimir.cluster.simulated.tables import REQUEST, RESPONSE, Ints, Rows
from mimir.load.draws import state_of

_CLOSING = 20  # packets that acknowledging and closing one old connection can cost
_PER_QUESTION = 16  # A and AAAA, each asked, forwarded and answered, at two places


def no_lookups(count: int = 0) -> Ints:
    """A table of look-ups to be filled: any kube-dns pod, any source port."""
    return np.full((count, LOOKUP_COLUMNS), -1, dtype=np.int64)


class Player:
    """Turns call tables into packets and collects the look-ups that opening connections needs."""

    def __init__(self, layout: Layout, names: Names, seed: np.random.SeedSequence):
        packets, dns = seed.spawn(2)
        self._tcp, self._names = transport_of(layout.cluster.transport), names
        self._random, self._dns_random = state_of(packets), state_of(dns)
        self._roster, self._layout = layout.roster, layout
        self._renew()
        self._roster.follow(self._renew)
        self._cached = np.zeros((0, 0), dtype=np.int64)
        self._pieces: list[Rows] = []
        self._lookups: list[Ints] = []

    def play(self, line: Line, calls: Ints, order: Ints) -> Rows:
        """Play calls (rows `order`, by START) on a line; what was found out stands in the table afterwards.

        Returns the packets, which are kept for `take`, too.
        """
        if not len(order):
            return frames.empty(0)
        room = play.packets_at_most(calls[order][:, [REQUEST, RESPONSE]], self._tcp.segment_bytes)
        out, lookups = frames.empty(room + _CLOSING * line.pools.size), np.empty((len(order), 2), dtype=np.int64)
        used, looked = play.play(
            out, 0, calls, order, line.channel, line.pools, line.ports, line.known, lookups, self._tcp, self._random
        )
        self._pieces.append(out[:used].copy())
        if looked:
            asked = no_lookups(looked)
            asked[:, AT], asked[:, POD] = lookups[:looked, 0], np.array(line.pods)[lookups[:looked, 1]]
            asked[:, NAME] = line.channel.name
            self._lookups.append(asked)
        return self._pieces[-1]

    def sweep(self, line: Line, until_ns: int) -> None:
        """End of a slice for the connections of a line."""
        out = frames.empty(_CLOSING * line.pools.size)
        used = play.sweep(out, 0, line.channel, line.pools, until_ns)
        self._pieces.append(out[:used].copy())

    def resolve(self, lookups: Ints) -> Ints:
        """Play these and the look-ups of opened connections; returns when each of `lookups` left the node (0: never)."""
        everything = np.concatenate([lookups, *self._lookups])
        self._lookups = []
        there = everything[:, AT] < self._gone[everything[:, POD]]
        order = np.argsort(everything[:, AT], kind="stable")
        order = order[there[order]]
        if self._cached.shape[1] < self._names.outside:
            self._cached = np.zeros((len(self._resolver.servers), self._names.outside), dtype=np.int64)
        left = np.zeros(len(order), dtype=np.int64)
        questions = self._names.questions()
        asked = np.diff(questions.first)[everything[order, NAME]]
        out = frames.empty(_PER_QUESTION * int(asked.sum()))
        sizes = np.array([len(message) for message in self._names.messages])
        used = resolve.resolve(
            out,
            0,
            everything[order],
            questions,
            sizes,
            self._cached,
            self._resolver,
            self._dns_random,
            left,
        )
        self._pieces.append(out[:used].copy())
        back = np.zeros(len(everything), dtype=np.int64)
        back[order] = left
        return back[: len(lookups)]

    def _renew(self) -> None:
        self._resolver = resolve.resolver_of(self._layout)
        self._gone = self._roster.times(list(range(len(self._roster.lives))), "gone_ns")

    def add(self, rows: Rows) -> None:
        """Packets that need no connection, made elsewhere."""
        self._pieces.append(rows)

    def take(self) -> list[Rows]:
        """All packets since the last call."""
        pieces, self._pieces = self._pieces, []
        return pieces
