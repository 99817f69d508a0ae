"""One hop of a TCP channel, as payload sizes of its requests and responses."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mimir.exfiltration.paths import Carriage


@dataclass(frozen=True, eq=False)
class Hop:
    """Message `i` crosses from `source` to `target` in one exchange: request, then response (bytes above TCP)."""

    source: str
    target: str
    carriage: Carriage
    request_bytes: NDArray[np.int64]
    response_bytes: NDArray[np.int64]

    @property
    def client(self) -> str:
        """Who opens the connection and sends the request."""
        return self.target if self.carriage is Carriage.pull else self.source

    @property
    def server(self) -> str:
        """Who answers."""
        return self.source if self.carriage is Carriage.pull else self.target
