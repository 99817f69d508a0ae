"""The strongest of many tests in every window, each over several lengths of memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mimir.detectors.invariants import chains, tails

Array = NDArray[np.float64]
Whole = NDArray[np.int64]

#: a window whose sums over at most SHORT windows are that surprising has raised its alert: longer sums leave it out, or they
#: would go on about a leak that is over
SHORT, SPENT = 5, 6.0


class Strongest(NamedTuple):
    """(T,) surprise of the strongest test of all, of those over DNS, of the others; that test, and the windows it sums up."""

    surprise: Array
    dns: Array
    other: Array
    test: Whole
    length: Whole

    def bent(self) -> Strongest:
        """The same with surprises compressed above tails.BEND."""
        return Strongest(
            tails.bend(self.surprise), tails.bend(self.dns), tails.bend(self.other), self.test, self.length
        )


def nothing(windows: int) -> Strongest:
    """What no tests at all find."""
    zero = np.zeros(windows)
    return Strongest(zero, zero, zero, np.zeros(windows, np.int64), np.ones(windows, np.int64))


@dataclass(frozen=True)
class Bench:
    """What (N,) tests are judged by: benign location and scale (N, K), degrees of freedom (K,), price, and whether DNS is involved."""

    location: Array
    scale: Array
    freedom: Array
    price: Array
    dns: NDArray[np.bool_]

    def judge(self, statistics: Iterable[Array], lengths: Sequence[int]) -> Strongest:
        """From the (T, K) statistics of every test, K = len(lengths), the first of those learned.

        Tests of one price are ranked by their statistics, and only the largest of these is turned into a p-value: the same
        order, and Student's distribution is what costs.
        """
        count = len(lengths)
        groups: dict[tuple[float, bool], tuple[Array, Whole]] = {}
        for n, values in enumerate(statistics):
            z = chains.held((values - self.location[n, :count]) / self.scale[n, :count], lengths)
            key = (float(self.price[n]), bool(self.dns[n]))
            if key not in groups:
                groups[key] = (z, np.full(z.shape, n, dtype=np.int64))
                continue
            most, test = groups[key]
            better = z > most
            np.copyto(most, z, where=better)
            test[better] = n
        return self._best(groups, np.array(lengths, dtype=np.int64))

    def _best(self, groups: dict[tuple[float, bool], tuple[Array, Whole]], lengths: Whole) -> Strongest:
        windows = len(next(iter(groups.values()))[0])
        best, parts = np.zeros(windows), np.zeros((2, windows))
        test, length = np.zeros(windows, np.int64), np.ones(windows, np.int64)
        for (price, dns), (most, number) in groups.items():
            surprise = tails.surprise(most, self.freedom[: len(lengths)]) - price
            longest = surprise.argmax(axis=1)
            surprise = np.take_along_axis(surprise, longest[:, None], axis=1)[:, 0]
            number = np.take_along_axis(number, longest[:, None], axis=1)[:, 0]
            parts[int(dns)] = np.maximum(parts[int(dns)], surprise)
            better = surprise > best
            best = np.where(better, surprise, best)
            test, length = np.where(better, number, test), np.where(better, lengths[longest], length)
        return Strongest(best, parts[1], parts[0], test, length)

    def strongest(
        self, statistics: Callable[[Array, Sequence[int]], Iterator[Array]], normal: Array, lengths: Sequence[int]
    ) -> Strongest:
        """The same with spent windows left out of long sums. `statistics(normal, lengths)` gives those of every test."""
        found = self.judge(statistics(normal, lengths), lengths)
        if not (found.surprise > SPENT).any() or lengths[-1] <= SHORT:
            return found
        few = [k for k in lengths if k <= SHORT]
        short = self.judge(statistics(normal, few), few)
        kept = np.where((short.surprise > SPENT)[:, None], 0.0, normal)
        long = self.judge(statistics(kept, lengths), lengths)
        better = long.surprise > short.surprise
        return Strongest(
            np.maximum(short.surprise, long.surprise), np.maximum(short.dns, long.dns), np.maximum(short.other, long.other),
            np.where(better, long.test, short.test), np.where(better, long.length, short.length),
        )  # fmt: skip
