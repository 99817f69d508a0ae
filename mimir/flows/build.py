"""The edges stage: captures and entities → edges.parquet and a report of what was counted and left out."""

from __future__ import annotations

import math
import tempfile
import threading
from collections.abc import Generator, Iterable, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from mimir.capture.ahead import read_ahead
from mimir.capture.batch import PacketBatch
from mimir.capture.counts import CaptureCounts
from mimir.capture.nodes import NodeCaptures
from mimir.capture.reader import Capture, open_capture
from mimir.capture.spool import decode_elsewhere
from mimir.engine import Engine
from mimir.errors import MimirError
from mimir.flows.connections import ConnectionTracker
from mimir.flows.identity import Identity, entities_of
from mimir.flows.packets import Packets, columns

#: batches decoded in advance: 5 MB each
BATCHES_AHEAD = 4


@dataclass(frozen=True)
class EdgeReport:
    """What `build_edges` did with one recording; `to_json` is its part of capture.json."""

    recording: str
    rows: int
    capture: CaptureCounts
    copies: dict[str, dict[str, int]]
    proofs: dict[str, dict[str, int]]
    evicted_early: int
    nodes: dict[str, dict[str, int]]  #: of a capture folder with one subfolder per node; empty for others
    holes_forgotten: int = 0

    def to_json(self) -> dict[str, Any]:
        """JSON values."""
        counts = self.capture.to_json()
        return {
            **counts,
            **({"nodes": self.nodes} if self.nodes else {}),
            "copies_removed": self.copies,
            "copies_recognised_by": self.proofs,
            "connections_evicted_early": self.evicted_early,
            "holes_forgotten": self.holes_forgotten,
            "edge_rows": self.rows,
        }


def build_edges(
    captures: Sequence[Path],
    entities: Path | Identity | None,
    windows_s: Sequence[int],
    recording: str,
    timeout_s: float,
    out: Path,
    reorder_ns: int = 0,
    workers: int = 1,
    engine: Engine | None = None,
    idle_s: float | None = None,
) -> EdgeReport:
    """Read captures once and write edges of all window lengths (seconds, whole) and both views to `out`.

    A folder with one subfolder per node is one capture (see `mimir.capture.nodes`). `entities` is entities.jsonl, a table of addresses, or None (addresses become nodes). Packets at most `reorder_ns` late
    are put in time order first. With two `workers` or more, packets are decoded and their connections hashed on a thread of their own,
    ahead of the tracker; more than two change nothing. With an `engine`, its
    workers decode compressed files side by side (see `mimir.capture.spool`). Neither changes a result. With `idle_s`, the last file is one still being written, until nothing came for so many seconds. Raises CaptureError for a file that
    is no capture and MimirError for entities that cannot be understood.
    """
    if not windows_s or min(windows_s) < 1:
        raise MimirError(f"window lengths must be whole seconds >= 1 (got {list(windows_s)})")
    identity = entities if isinstance(entities, Identity) else entities_of(entities)
    if workers > 1:  # 0.1 s that nobody has to wait for
        threading.Thread(target=import_module, args=("pyarrow.parquet",), name="import").start()
    tracker = ConnectionTracker(identity, math.gcd(*windows_s), timeout_s)
    with _opened(captures, reorder_ns, engine, out, idle_s) as capture:
        made = _columns(capture)
        with closing(read_ahead(made, BATCHES_AHEAD) if workers > 1 else made) as batches:
            for batch in batches:
                tracker.add(batch)
    from mimir.flows.write import write_edges  # with pyarrow, which may have been imported meanwhile

    rows = write_edges(tracker.finish(), windows_s, recording, out, workers)
    by_node = capture.by_node if isinstance(capture, NodeCaptures) else {}
    nodes = {name: {"packets": c.packets, "rows": c.rows, "bytes": c.bytes} for name, c in by_node.items()}
    return EdgeReport(
        recording,
        rows,
        capture.counts,
        tracker.copies(),
        tracker.proofs(),
        tracker.evicted_early(),
        nodes,
        tracker.holes_forgotten(),
    )


@contextmanager
def _opened(
    captures: Sequence[Path], reorder_ns: int, engine: Engine | None, out: Path, idle_s: float | None
) -> Generator[Capture | NodeCaptures, None, None]:
    """The captures, compressed ones decoded by the engine's workers into files beside `out` that go in the end."""
    capture = open_capture(captures, reorder_ns=reorder_ns, follow=idle_s is not None, timeout_s=idle_s)
    if engine is None or idle_s is not None or len(capture.paths) < 2:
        yield capture
        return
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{out.name}.", dir=out.parent) as folder:
        spools = decode_elsewhere(capture.paths, Path(folder), engine)
        yield open_capture(captures, reorder_ns=reorder_ns, spools=spools) if spools else capture


def _columns(capture: Iterable[PacketBatch]) -> Generator[Packets, None, None]:
    """What the tracker reads, made where packets are decoded."""
    batches = iter(capture)
    try:
        for batch in batches:
            yield columns(batch)
    finally:
        if isinstance(batches, Generator):
            batches.close()
