"""Captures of several nodes: merged by time, with interfaces told apart by node.

A folder without captures of its own, whose subfolders hold captures, is one recording: a subfolder per node. Clocks of
the nodes must agree to well under a second, because the rules that tell copies from repetitions allow for one second.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from mimir.capture.batch import NODE_BITS, PacketBatch
from mimir.capture.counts import CaptureCounts
from mimir.capture.reorder import compact, in_time_order, joined, pieces
from mimir.capture.sources import captures_in, natural
from mimir.errors import CaptureError
from mimir.jit import Records

if TYPE_CHECKING:
    from mimir.capture.reader import Capture

MAX_NODES = 1 << (31 - NODE_BITS)
#: rows in memory for all nodes together; each node has at least `LEAST_ROWS`
ALL_ROWS, LEAST_ROWS = 1 << 18, 1 << 10


def node_folders(source: object) -> dict[str, Path]:
    """Folder of each node by its name, in natural order; empty where `source` is no folder of nodes."""
    items = list(source) if isinstance(source, (list, tuple)) else [source]
    if len(items) != 1 or not Path(str(items[0])).is_dir() or captures_in(Path(str(items[0]))):
        return {}
    folder = Path(str(items[0]))
    found = sorted((f for f in folder.iterdir() if f.is_dir() and captures_in(f)), key=natural)
    if len(found) > MAX_NODES:
        raise CaptureError(folder, f"holds captures of {len(found)} nodes, at most {MAX_NODES} can be merged")
    return {f.name: f for f in found}


def merged_rows(batch_rows: int, nodes: int) -> int:
    """Rows a batch of one node may have, so that memory does not grow with the number of nodes."""
    return min(batch_rows, max(ALL_ROWS // nodes, LEAST_ROWS))


class NodeCaptures:
    """Packets of all nodes in time order: iterate for batches, then read `counts` (all nodes) or `by_node`."""

    def __init__(self, nodes: Mapping[str, Capture], batch_rows: int, reorder_ns: int, tunnels: Records):
        self.nodes = dict(nodes)
        self.tunnels = tunnels  #: what `PacketBatch.tunnel` numbers, of all nodes
        self.paths = [path for capture in self.nodes.values() for path in capture.paths]
        self._batch_rows, self._reorder_ns = batch_rows, reorder_ns

    def __iter__(self) -> Generator[PacketBatch, None, None]:
        """Batches in time order across nodes; each node's packets stay in the order of its files."""
        streams = [iter(capture) for capture in self.nodes.values()]
        batches = _merged(streams, self._batch_rows)
        if self._reorder_ns:
            batches = in_time_order(batches, self._reorder_ns, self._batch_rows)
        try:
            yield from batches
        finally:
            for stream in streams:
                stream.close()

    @property
    def counts(self) -> CaptureCounts:
        """Of all nodes together. `out_of_order` is about packets of one node."""
        return CaptureCounts.total(capture.counts for capture in self.nodes.values())

    @property
    def by_node(self) -> dict[str, CaptureCounts]:
        """Counts of each node."""
        return {name: capture.counts for name, capture in self.nodes.items()}


@dataclass
class _Stream:
    """One node: its rows not handed out yet, with their sort keys (the latest time so far)."""

    node: int
    batches: Iterator[PacketBatch]
    batch: PacketBatch | None = None
    keys: NDArray[np.int64] | None = None
    newest: int = -(2**63)

    def filled(self) -> bool:
        """Have rows at hand; False at the end of the node."""
        while self.batch is None or not len(self.batch):
            following = next(self.batches, None)
            if following is None:
                return False
            if len(following):
                self.batch = replace(following, ifindex=at_node(following.ifindex, self.node))
                keys = np.maximum.accumulate(following.ts_ns)
                self.keys = np.maximum(keys, self.newest)
                self.newest = int(self.keys[-1])
        return True

    def taken(self, until: int, side: Literal["left", "right"]) -> tuple[PacketBatch, NDArray[np.int64]]:
        """Rows with keys up to `until` (`side` right: included), taken out."""
        assert self.batch is not None
        assert self.keys is not None
        cut = int(np.searchsorted(self.keys, until, side))
        out, keys = self.batch.take(slice(0, cut)), self.keys[:cut]
        self.batch, self.keys = self.batch.take(slice(cut, None)), self.keys[cut:]
        return out, keys


def at_node(ifindex: NDArray[np.int32], node: int) -> NDArray[np.int32]:
    """Interface numbers that differ from node to node; -1 (not known) becomes -1 - node."""
    known = (ifindex & ((1 << NODE_BITS) - 1)) | np.int32(node << NODE_BITS)
    return np.where(ifindex >= 0, known, np.int32(-1 - node)).astype(np.int32)


def _merged(streams: Iterable[Iterator[PacketBatch]], batch_rows: int) -> Generator[PacketBatch, None, None]:
    """Rows ordered by (latest time of the node so far, node, place): the same for any size of batches.

    Up to where the first node runs out of rows, all rows are at hand: that much is sorted and handed out.
    """
    open_nodes = [_Stream(number, stream) for number, stream in enumerate(streams)]
    while open_nodes := [s for s in open_nodes if s.filled()]:
        until, last = min((s.newest, s.node) for s in open_nodes)
        parts = [s.taken(until, "right" if s.node <= last else "left") for s in open_nodes]
        rows = [compact(batch) if len(parts) > 1 else batch for batch, _ in parts if len(batch)]
        whole = rows[0] if len(rows) == 1 else joined(rows)
        if len(rows) > 1:
            whole = whole.take(np.argsort(np.concatenate([keys for _, keys in parts]), kind="stable"))
        yield from pieces(whole, batch_rows)
