"""The loop behind `mimir.exfiltration.dns_messages.render`."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray


@njit(cache=True, nogil=True)
def fill(
    data: NDArray[np.uint8],
    source: NDArray[np.uint8],
    begins: NDArray[np.int64],
    lengths: NDArray[np.int64],
    transactions: NDArray[np.int64],
) -> None:
    """Copy `lengths[i]` bytes of `source` from `begins[i]`, one after the other, each with its own first two bytes."""
    at = 0
    for i in range(len(begins)):
        for k in range(2, lengths[i]):
            data[at + k] = source[begins[i] + k]
        data[at] = (transactions[i] >> 8) & 0xFF
        data[at + 1] = transactions[i] & 0xFF
        at += lengths[i]
