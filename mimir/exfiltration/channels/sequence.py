"""Sequence numbers of channels without connections: order, gaps, wrapping."""

from __future__ import annotations

from collections.abc import Collection
from itertools import pairwise


def consecutive(numbers: Collection[int]) -> list[int]:
    """32-bit sequence numbers in sending order; they may wrap. ValueError names the missing ones.

    >>> consecutive([1, 0, 0xFFFFFFFF])
    [4294967295, 0, 1]
    """
    present = sorted(numbers)
    jumps = [k for k, (a, b) in enumerate(pairwise(present), 1) if b != a + 1]
    wraps = len(jumps) == 1 and present[0] == 0 and present[-1] == 0xFFFFFFFF
    if jumps and not wraps:
        lost = [f"{present[k - 1] + 1} … {present[k] - 1}" for k in jumps]
        raise ValueError(f"missing sequence numbers {', '.join(lost)}")
    return present[jumps[0] :] + present[: jumps[0]] if wraps else present
