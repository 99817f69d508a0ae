"""Packets before the first time stamp of a file (pcapng's Simple Packet Blocks have none) take that of the first one."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from mimir.capture import decode
from mimir.capture.batch import PacketBatch
from mimir.capture.pcapng import NO_TIME

#: rows that wait for a time at most; those before them are left out
MAX_WAITING_ROWS = 1 << 17


class Untimed:
    """Holds the rows of one file back until a packet with a time comes."""

    def __init__(self, tally: decode.Tally):
        self.tally = tally
        self._waiting: deque[PacketBatch] = deque()
        self._rows, self._begun = 0, False

    def timed(self, batch: PacketBatch) -> Iterator[PacketBatch]:
        """The batches that have their times now."""
        if self._begun:
            yield batch
            return
        self._waiting.append(batch)
        self._rows += len(batch)
        if self.tally.sums[decode.BEGIN_NS] != NO_TIME:
            yield from self.rest()
        while self._rows > MAX_WAITING_ROWS:
            self._skip()

    def rest(self) -> Iterator[PacketBatch]:
        """What waits, with the first time; if the file has none, it is left out."""
        begin_ns = self.tally.sums[decode.BEGIN_NS]
        self._begun = begin_ns != NO_TIME
        while self._waiting and self._begun:
            held = self._waiting.popleft()
            self._rows -= len(held)
            if held.ts_ns[0] == NO_TIME:  # they are the first rows
                held = replace(held, ts_ns=np.where(held.ts_ns == NO_TIME, begin_ns, held.ts_ns))
            yield held
        while self._waiting:
            self._skip()

    def _skip(self) -> None:
        """These rows are none after all."""
        batch = self._waiting.popleft()
        self._rows -= len(batch)
        size = int(batch.frame_bytes.sum(dtype=np.int64))
        sums, skipped = self.tally.sums, self.tally.skipped[decode.UNTIMED]
        sums[decode.ROWS] -= len(batch)
        sums[decode.ROW_BYTES] -= size
        skipped[decode.SKIP_COUNT] += len(batch)
        skipped[decode.SKIP_BYTES] += size
        skipped[decode.SKIP_FIRST] = max(skipped[decode.SKIP_FIRST], 0)
