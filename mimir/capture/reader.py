"""Streaming reader: capture files → PacketBatches, in bounded memory."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import closing
from pathlib import Path

from mimir.capture import decode
from mimir.capture.batch import PacketBatch
from mimir.capture.counts import CaptureCounts
from mimir.capture.file_reader import BATCH_ROWS, BLOCK_BYTES, FileReader
from mimir.capture.fragments import Fragments
from mimir.capture.growth import Growth
from mimir.capture.interfaces import Interfaces
from mimir.capture.nodes import NodeCaptures, merged_rows, node_folders
from mimir.capture.reorder import in_time_order, pieces
from mimir.capture.sources import STANDARD_INPUT, expand, is_empty
from mimir.capture.spool import Spool
from mimir.capture.tunnels import new_tunnels
from mimir.errors import CaptureError
from mimir.jit import Records


class Capture:
    """Packets of one or more capture files: iterate for batches, then read `counts`."""

    def __init__(
        self,
        paths: list[Path],
        block_bytes: int,
        batch_rows: int,
        overlays: bool,
        growth: Callable[[], Growth] | None = None,
        reorder_ns: int = 0,
        tunnels: Records | None = None,
        spools: Mapping[Path, Spool] | None = None,
        one_of_several: bool = False,
    ):
        self.paths, self.overlays, self._growth, self._reorder_ns = paths, overlays, growth, reorder_ns
        self.counts, self.interfaces = CaptureCounts(), Interfaces()
        self._shared = tunnels  #: with the captures of other nodes
        self.tunnels = new_tunnels() if tunnels is None else tunnels  #: what `PacketBatch.tunnel` numbers
        self._block_bytes, self._batch_rows, self._spools = block_bytes, batch_rows, spools or {}
        self._one_of_several = one_of_several  #: captures of nodes: one without anything is no error

    def __iter__(self) -> Generator[PacketBatch, None, None]:
        """Batches in the order of the files. Raises CaptureError for a file that is no capture at all."""
        batches = self._numbered()
        return in_time_order(batches, self._reorder_ns, self._batch_rows) if self._reorder_ns else batches

    def _numbered(self) -> Generator[PacketBatch, None, None]:
        """Interfaces with numbers of their own, fragments with ports. A capture that is followed waits for none."""
        fragments = Fragments(wait=self._growth is None)
        with closing(self._batches()) as batches:
            for batch in fragments.attributed(batches):
                yield self.interfaces.numbered(batch)
        self.counts.correct_protocols(fragments.corrections())

    def _batches(self) -> Generator[PacketBatch, None, None]:
        self.counts, self.interfaces = CaptureCounts(), Interfaces()
        self.tunnels = new_tunnels() if self._shared is None else self._shared
        empty = self._empty()
        for path in self.paths:
            if path in empty:
                self.counts.note_empty(str(path))
                continue
            spool = self._spools.get(path)
            if spool and spool.fits_behind(self.counts):
                self.counts.include(spool.counts)
                for batch in spool.batches():
                    yield from pieces(batch, self._batch_rows)
                continue
            growth = self._growth() if self._growth and path == self.paths[-1] else None
            reader = FileReader(path, self.counts, self._block_bytes, self._batch_rows, self.overlays, growth,
                                self.tunnels)  # fmt: skip
            try:
                yield from reader.batches()
            finally:
                reader.close()

    def _empty(self) -> set[Path]:
        """Files without a byte beside others that have some; one that is followed may yet grow."""
        complete = self.paths[:-1] if self._growth else self.paths
        empty = {path for path in complete if is_empty(path)}
        return empty if self._one_of_several or len(empty) < len(self.paths) else set()


def open_capture(
    source: str | Path | Iterable[str | Path],
    *,
    overlays: bool = True,
    follow: bool = False,
    stop: Callable[[], bool] | None = None,
    timeout_s: float | None = None,
    reorder_ns: int = 0,
    block_bytes: int = BLOCK_BYTES,
    batch_rows: int = BATCH_ROWS,
    spools: Mapping[Path, Spool] | None = None,
) -> Capture | NodeCaptures:
    """Open a capture file, a folder or glob of rotated files, or several of these (pcap, pcapng, .gz and .zst).

    `-` is standard input; it and other pipes are read once, from beginning to end.
    With `overlays`, packets inside VXLAN, Geneve, GRE and IP in IP become the rows, in place of what carries them.
    With `follow`, the last file is one still being written: at its end, rows so far are handed out and the file is
    read on as it grows, until `stop()` is true or nothing came for `timeout_s` seconds (without both: for ever).
    With `reorder_ns`, rows at most that much late are put in time order (see `mimir.capture.reorder`).
    A folder that holds no capture but a subfolder with captures per node is merged by time (see `mimir.capture.nodes`).
    Several files are read in the order of their first packets. `block_bytes` is read at a time, and a batch has at
    most `batch_rows` rows (files without a byte are reported in `counts.damaged`, unless all are such); neither changes what comes out. `spools` are files that were decoded already (see
    `mimir.capture.spool`). Raises CaptureError when there is no file, or when a file
    is no capture; damage inside a capture is reported in `counts` instead. ValueError for sizes below 1.
    """
    if block_bytes < 1 or batch_rows < 1:
        raise ValueError(f"block_bytes and batch_rows must be > 0 (got {block_bytes} and {batch_rows})")
    if not follow and (stop is not None or timeout_s is not None):
        raise ValueError("stop and timeout_s are about files still being written; set follow=True")
    if nodes := node_folders(source):
        if follow:
            raise CaptureError(
                Path(str(source)), "the captures of several nodes cannot be followed while they are written"
            )
        rows = merged_rows(batch_rows, len(nodes))
        files = {name: expand(folder) for name, folder in nodes.items()}
        some = any(not is_empty(path) for paths in files.values() for path in paths)
        tunnels = new_tunnels()
        parts = {
            name: Capture(_in_order(paths), block_bytes, rows, overlays, None, 0, tunnels, spools, some)
            for name, paths in files.items()
        }
        return NodeCaptures(parts, batch_rows, reorder_ns, tunnels)
    growth = (lambda: Growth(stop, timeout_s)) if follow else None
    return Capture(_in_order(expand(source)), block_bytes, batch_rows, overlays, growth, reorder_ns, spools=spools)


def _in_order(paths: list[Path]) -> list[Path]:
    """The files in the order of their first packets; those without one come last."""
    if len(paths) < 2:
        return paths
    if STANDARD_INPUT in paths:
        raise CaptureError(STANDARD_INPUT, "standard input cannot be read together with files; give it alone")
    starts = [None if is_empty(path) else first_time_ns(path) for path in paths]
    order = sorted(range(len(paths)), key=lambda i: (starts[i] is None, starts[i] or 0, i))
    return [paths[i] for i in order]


def first_time_ns(path: Path) -> int | None:
    """Time of the first record of a file in ns; None when it has no packet. Raises CaptureError as `open_capture`."""
    reader = FileReader(path, CaptureCounts(), 1 << 12, 1, overlays=False)
    try:
        for _ in reader.batches():
            break
        first = int(reader.tally.sums[decode.FIRST_NS])
        return None if reader.tally.sums[decode.PACKETS] == 0 or first == 2**63 - 1 else first
    finally:
        reader.close()
