"""Files that are decoded elsewhere: an engine's workers turn compressed captures into columns on disk.

Unpacking costs ten times more than decoding, and it cannot be cut inside a file. So the compressed files of a set are
unpacked side by side, each into a file of columns, and whoever follows the connections reads these in the order of the
captures: the batches are those that the captures themselves would have given.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np

from mimir.capture.batch import PacketBatch
from mimir.capture.counts import CaptureCounts
from mimir.capture.file_reader import BATCH_ROWS, BLOCK_BYTES, FileReader
from mimir.capture.sources import is_compressed
from mimir.engine import Engine

COLUMNS = tuple(field.name for field in fields(PacketBatch))


@dataclass(frozen=True)
class Spool:
    """Columns of one capture on disk, and what was counted while it was decoded."""

    capture: Path
    columns: Path
    counts: CaptureCounts

    def fits_behind(self, before: CaptureCounts) -> bool:
        """Does the file begin after all files before it? Otherwise packets count as late that the worker could not know."""
        return before.last_ns is None or self.counts.first_ns is None or self.counts.first_ns >= before.last_ns

    def batches(self) -> Generator[PacketBatch, None, None]:
        """As decoded. Numbers of tunnels are those of this file."""
        size = self.columns.stat().st_size
        with self.columns.open("rb") as file:
            while file.tell() < size:
                yield PacketBatch(**{name: np.load(file, allow_pickle=False) for name in COLUMNS})


def decode_elsewhere(captures: Sequence[Path], folder: Path, engine: Engine) -> dict[Path, Spool]:
    """Spools of the compressed ones of several captures, by capture, in `folder`, about 110 bytes a packet.

    A single one is left alone: there is nothing to do beside it. Raises CaptureError for a file that is no capture.
    """
    packed = [path for path in captures if is_compressed(path)]
    if len(packed) < 2:
        return {}
    work = [(path, folder / f"{number}.columns") for number, path in enumerate(packed)]
    return {spool.capture: spool for spool in engine.map(decode_one, work)}


def decode_one(work: tuple[Path, Path]) -> Spool:
    """Decode a capture into a file of columns. Raises CaptureError when it is none."""
    capture, columns = work
    counts = CaptureCounts()
    reader = FileReader(capture, counts, BLOCK_BYTES, BATCH_ROWS, overlays=True)
    try:
        with columns.open("wb") as out:
            for batch in reader.batches():
                for name in COLUMNS:
                    np.save(out, getattr(batch, name), allow_pickle=False)
    finally:
        reader.close()
    return Spool(capture, columns, counts)
