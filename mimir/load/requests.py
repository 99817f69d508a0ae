"""What every source of load gives: requests in order of time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Requests:
    """Requests to the entry service in order of time (R rows)."""

    ts_ns: NDArray[np.int64]
    user: NDArray[np.int64]  # slot of the user; somebody else takes it over after the user has left
    endpoint: NDArray[np.int64]  # number of the entry service's endpoint, in the order of its YAML
    last: NDArray[np.bool_]  # the behaviour, and with it the user's session, ends with this request


class Users(Protocol):
    """A closed population, or sessions that arrive."""

    @property
    def slots(self) -> int:
        """Most users there can be at a time."""
        ...

    @property
    def marks(self) -> list[tuple[float, dict[str, float]]]:
        """What was there at each step of the profile so far: seconds since the beginning, users (and arrivals a minute)."""
        ...

    def until(self, end_ns: int) -> Requests:
        """Requests of [where the last call stopped, end_ns), in order of time."""
        ...


def in_order(table: NDArray[np.int64]) -> Requests:
    """Requests from rows of time, slot, endpoint and whether it is the last (R, 4)."""
    table = table[np.lexsort((table[:, 1], table[:, 0]))]
    ts_ns, user, endpoint = (np.ascontiguousarray(table[:, i]) for i in range(3))
    return Requests(ts_ns, user, endpoint, last=table[:, 3] == 1)
