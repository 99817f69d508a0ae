"""One hop of a TCP channel, as payload sizes of its requests and responses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mimir.exfiltration.paths import Carriage


class Exchange(NamedTuple):
    """Payload bytes of a request and its response; `pushed`: the server speaks first."""

    request_bytes: int
    response_bytes: int
    pushed: bool = False


@dataclass(frozen=True, eq=False)
class Hop:
    """Message `i` crosses from `source` to `target` in one exchange: request, then response (bytes above TCP).

    A connection begins with `opening` (`reopening` on later connections, where given) and ends with `closing`; each
    message is preceded by `before`. `per_connection` messages share a connection, 0: all. `one_way`: nobody asks for
    a message or answers it, and a pulled one is sent by the server of its own accord.
    """

    source: str
    target: str
    carriage: Carriage
    request_bytes: NDArray[np.int64]
    response_bytes: NDArray[np.int64]
    opening: tuple[Exchange, ...] = ()
    reopening: tuple[Exchange, ...] = ()
    before: tuple[Exchange, ...] = ()
    closing: tuple[Exchange, ...] = ()
    per_connection: int = 0
    one_way: bool = False

    @property
    def client(self) -> str:
        """Who opens the connection and sends the request."""
        return self.target if self.carriage is Carriage.pull else self.source

    @property
    def server(self) -> str:
        """Who answers."""
        return self.source if self.carriage is Carriage.pull else self.target
