"""Fragments get the ports of the datagram that they are parts of: its first fragment has them, wherever it stands.

A fragment belongs to a datagram by addresses, identification and (IPv4) protocol (RFC 791, RFC 8200). One that comes
before the first of its datagram waits for it, and all rows behind it too, so that nothing changes places. The decoder marks
fragments in the column `tunnel`; rows that leave here have no marks. Nothing depends on how rows are cut into batches or files.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Generator, Iterable
from dataclasses import dataclass

import numpy as np

from mimir.capture.batch import PacketBatch
from mimir.capture.network import FIRST_FRAGMENT, LATER_FRAGMENT
from mimir.jit import Int, inlined

#: a mark is so much for each step of the fragment's status; numbers of tunnels are smaller
MARK = 1 << 20
#: a datagram is forgotten after so long (Linux: net.ipv4.ipfrag_time), or when so many newer ones were begun
DATAGRAM_NS, MAX_DATAGRAMS = 30_000_000_000, 1 << 16
#: a fragment waits for the first one for so long, and for so many packets, at most
WAIT_NS, WAIT_ROWS = 1_000_000_000, 1 << 16

Key = tuple[int, ...]  #: addresses, identification, protocol (IPv6: 0, the chain of headers goes on in the first one)


@inlined
def marked(tunnel: Int, status: Int) -> Int:
    """Number of a tunnel and status of a fragment in one."""
    return tunnel - status * MARK


@dataclass(frozen=True)
class _Waiting:
    """A fragment whose first one did not come yet: row `row` of `batch`, which is row `place` of the capture."""

    batch: PacketBatch
    row: int
    place: int
    ts_ns: int


class Fragments:
    """Attributes the fragments of one sequence of batches. With `wait` false rows are handed out at once (live captures)."""

    def __init__(self, wait: bool = True):
        self._wait = wait
        self._known: dict[Key, tuple[int, int, int, int]] = {}  #: protocol, ports, time of the first fragment
        self._waiting: dict[Key, list[_Waiting]] = {}
        self._rows, self._newest = 0, -(2**63)
        self._protocols: Counter[tuple[int, int]] = Counter()  #: decoded as, is

    def attributed(self, batches: Iterable[PacketBatch]) -> Generator[PacketBatch, None, None]:
        """The same rows, in the same order; fragments have the protocol and ports of their datagram where those are known."""
        held: deque[tuple[int, PacketBatch]] = deque()
        for batch in batches:
            fragments = np.flatnonzero(batch.tunnel < -1)
            if len(fragments):
                self._enter(batch, fragments.tolist())
            self._rows += len(batch)
            self._newest = int(batch.ts_ns.max(initial=self._newest))
            if not held and not self._waiting:
                yield batch
                continue
            held.append((self._rows, batch))
            first = self._first_waiting()
            while held and held[0][0] <= first:
                yield held.popleft()[1]
        for _, batch in held:
            yield batch

    def corrections(self) -> Counter[int]:
        """How many more rows of each protocol there are than were decoded as such."""
        out: Counter[int] = Counter()
        for (was, now), rows in self._protocols.items():
            out[was] -= rows
            out[now] += rows
        return out

    def _first_waiting(self) -> int:
        """Place of the first row that is still waited for; those that waited too long are given up."""
        if not self._wait:
            self._waiting.clear()
        for key, fragments in list(self._waiting.items()):
            kept = [f for f in fragments if self._may_wait(f, self._rows, self._newest)]
            if kept:
                self._waiting[key] = kept
            else:
                del self._waiting[key]
        return min((f.place for fragments in self._waiting.values() for f in fragments), default=self._rows)

    @staticmethod
    def _may_wait(fragment: _Waiting, place: int, newest_ns: int) -> bool:
        return newest_ns - fragment.ts_ns <= WAIT_NS and place - fragment.place <= WAIT_ROWS

    def _enter(self, batch: PacketBatch, rows: list[int]) -> None:
        newest = np.maximum(np.maximum.accumulate(batch.ts_ns), self._newest)
        for row in rows:
            later = int(batch.tunnel[row]) < -MARK - 1
            batch.tunnel[row] += MARK * (LATER_FRAGMENT if later else FIRST_FRAGMENT)
            key = _key(batch, row)
            if later:
                self._attribute(batch, row, key, int(newest[row]))
            else:
                self._begin(batch, row, key, int(newest[row]))

    def _begin(self, batch: PacketBatch, row: int, key: Key, newest_ns: int) -> None:
        """The first fragment of a datagram: tell those that wait, and those to come."""
        found = int(batch.proto[row]), int(batch.sport[row]), int(batch.dport[row]), newest_ns
        for fragment in self._waiting.pop(key, []):
            if self._may_wait(fragment, self._rows + row, newest_ns):
                self._set(fragment.batch, fragment.row, found)
        self._known.pop(key, None)
        self._known[key] = found
        if len(self._known) > MAX_DATAGRAMS:
            del self._known[next(iter(self._known))]

    def _attribute(self, batch: PacketBatch, row: int, key: Key, newest_ns: int) -> None:
        found = self._known.get(key)
        if found is not None and newest_ns - found[3] <= DATAGRAM_NS:
            self._set(batch, row, found)
        else:
            self._waiting.setdefault(key, []).append(_Waiting(batch, row, self._rows + row, int(batch.ts_ns[row])))

    def _set(self, batch: PacketBatch, row: int, found: tuple[int, int, int, int]) -> None:
        proto, sport, dport, _ = found
        if proto != batch.proto[row]:
            self._protocols[int(batch.proto[row]), proto] += 1
        batch.proto[row], batch.sport[row], batch.dport[row] = proto, sport, dport


def _key(batch: PacketBatch, row: int) -> Key:
    """What the fragments of a datagram share. Takes the mark of an IPv6 identification (16 bits of it) out of the row."""
    high, low = batch.src[row].tolist()
    ident, four = int(batch.ip_id[row]), high == 0 and low >> 32 == 0xFFFF
    if not four:
        batch.ip_id[row] = 0
    return high, low, *batch.dst[row].tolist(), ident, int(batch.proto[row]) if four else 0
