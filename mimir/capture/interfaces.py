"""Interface numbers that leave no room for the number of a node get another one: small numbers stay as they are."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from mimir.capture.batch import NODE_BITS, PacketBatch

#: interface numbers below this one fit beside the number of a node
LIMIT = 1 << NODE_BITS


@dataclass
class Interfaces:
    """Numbers of one capture. Nothing is noted while all are small, as they are unless interfaces come and go for years."""

    given: dict[int, int] = field(default_factory=dict)  #: number in the capture → number here, where they differ
    taken: dict[int, int] = field(default_factory=dict)  #: the other way round
    _next: int = LIMIT // 2 - 1  #: far from those that interfaces have when some are beyond LIMIT

    def numbered(self, batch: PacketBatch) -> PacketBatch:
        """The batch with all interface numbers below LIMIT, different ones for different interfaces.

        Numbers are given downwards in the order of first packets, so that they do not depend on the size of batches.
        """
        if not len(batch) or (not self.given and int(batch.ifindex.max()) < LIMIT):
            return batch
        found, first, inverse = np.unique(batch.ifindex, return_index=True, return_inverse=True)
        numbers = found.copy()
        for place in np.argsort(first).tolist():
            numbers[place] = self._number(int(found[place]))
        renumbered: NDArray[np.int32] = numbers[inverse.ravel()]
        return replace(batch, ifindex=renumbered)

    def _number(self, interface: int) -> int:
        if interface in self.given:
            return self.given[interface]
        if interface < LIMIT and interface not in self.taken:
            return interface
        while self._next in self.taken and self._next > 0:
            self._next -= 1
        self.given[interface], self.taken[self._next] = self._next, interface
        return self.given[interface]
