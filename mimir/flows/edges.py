"""The edge table (a file contract) and EdgeSeries (what detectors see)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:  # packets become edges without pandas, which takes 0.3 s to import
    import pandas as pd

KEY_COLUMNS = ("window_s", "window_start", "client", "server", "server_port", "proto", "view")
COUNTERS = (
    "request_bytes",  # IP bytes client → server
    "response_bytes",  # IP bytes server → client
    "request_payload_bytes",  # bytes above the transport header, client → server, retransmissions not counted
    "response_payload_bytes",
    "request_packets",
    "response_packets",
    "connections",  # connections that began in this window
    "exchanges",  # how often payload turned from (nothing or server→client) to client→server: a request count
    "mediated_bytes",  # of request_bytes + response_bytes: those addressed to a service address (before DNAT)
    "dns_queries",
    "dns_name_bytes",  # bytes of query names in those queries
)
OUTSIDE = "outside:"


class EdgeKey(NamedTuple):
    """A directed edge: who opened the connection (`client`), to whom (`server`), on which port and protocol."""

    client: str
    server: str
    server_port: int
    proto: str

    def __str__(self) -> str:
        return f"{self.client} → {self.server}:{self.server_port}/{self.proto}"


def is_outside(node: str) -> bool:
    """True for nodes beyond the cluster; their names start with `outside:`."""
    return node.startswith(OUTSIDE)


@dataclass(frozen=True)
class EdgeSeries:
    """Edges of one view and one window length over consecutive windows, sparse.

    `table` has columns `window` (0 … T-1), `edge` (0 … E-1) and COUNTERS; a missing row means zeros.
    `workloads` maps every pod name to its service (identity for the service view and for outside nodes).
    `sensitive` are the services that hold the data worth stealing. `pods` is the pod view of the same windows.
    """

    window_s: int
    window_start: NDArray[np.int64]  # (T,) UTC epoch seconds, consecutive
    edges: tuple[EdgeKey, ...]
    table: pd.DataFrame
    workloads: dict[str, str] = field(default_factory=dict)
    sensitive: frozenset[str] = frozenset()
    pods: EdgeSeries | None = None
    messages: pd.DataFrame | None = field(
        default=None, compare=False
    )  #: application fields (mimir.flows.messages), where asked for
    _dense: dict[str, NDArray[np.float64]] = field(default_factory=dict, repr=False, compare=False)

    def __len__(self) -> int:
        return len(self.window_start)

    def dense(self, counter: str) -> NDArray[np.float64]:
        """(T, E) array of one counter; built once. Raises KeyError for a name not in COUNTERS."""
        if counter not in self._dense:
            if counter not in COUNTERS:
                raise KeyError(f"unknown counter {counter!r}; allowed: {', '.join(COUNTERS)}")
            out = np.zeros((len(self.window_start), len(self.edges)))
            out[self.table["window"].to_numpy(), self.table["edge"].to_numpy()] = self.table[counter].to_numpy()
            out.setflags(write=False)
            self._dense[counter] = out
        return self._dense[counter]

    def at(self, index: int) -> Window:
        """One window of this series (negative indices count from the end)."""
        return Window(self, range(len(self))[index])

    def __iter__(self) -> Iterator[Window]:
        return (Window(self, i) for i in range(len(self)))


@dataclass(frozen=True)
class Window:
    """One window, with the series it belongs to (some detectors look back)."""

    series: EdgeSeries
    index: int

    @property
    def start(self) -> int:
        """UTC epoch seconds."""
        return int(self.series.window_start[self.index])
