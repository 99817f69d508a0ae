"""Bounded reordering: batches whose time runs backwards a little → batches in time order."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import fields, replace

import numpy as np

from mimir.capture.batch import PacketBatch

#: rows held back at most; a burst of more is handed out early, oldest first
MAX_HELD_ROWS = 1 << 17


def in_time_order(batches: Iterable[PacketBatch], hold_ns: int, batch_rows: int) -> Generator[PacketBatch, None, None]:
    """The same rows, sorted by time as far as they are at most `hold_ns` late; ties keep their order.

    A row is handed out when one `hold_ns` later was seen. What comes even later than that stays late. Batches have at
    most `batch_rows` rows; those that are in order are handed out as views, not copied.
    """
    held: PacketBatch | None = None
    newest = np.iinfo(np.int64).min
    for batch in batches:
        if not len(batch):
            continue
        newest = max(newest, int(batch.ts_ns.max()))
        due = newest - hold_ns
        if held is not None and held.ts_ns[-1] <= min(due, int(batch.ts_ns.min())):
            yield from pieces(held, batch_rows)
            held = None
        whole = _sorted(batch if held is None else joined([held, batch]))
        ready = max(int(np.searchsorted(whole.ts_ns, due, "right")), len(whole) - MAX_HELD_ROWS)
        yield from pieces(whole.take(slice(0, ready)), batch_rows)
        held = compact(whole.take(slice(ready, None))) if ready < len(whole) else None
    if held is not None:
        yield from pieces(held, batch_rows)


def pieces(batch: PacketBatch, rows: int) -> Iterator[PacketBatch]:
    """The batch in views of at most `rows` rows."""
    for start in range(0, len(batch), rows):
        yield batch.take(slice(start, start + rows))


def _sorted(batch: PacketBatch) -> PacketBatch:
    if bool(np.all(batch.ts_ns[1:] >= batch.ts_ns[:-1])):
        return batch
    return batch.take(np.argsort(batch.ts_ns, kind="stable"))


def joined(parts: Sequence[PacketBatch]) -> PacketBatch:
    """One batch of several, with their data one after the other."""
    columns = {f.name: np.concatenate([getattr(part, f.name) for part in parts]) for f in fields(PacketBatch)}
    shifts = np.cumsum([0, *(len(part.data) for part in parts[:-1])])
    offsets = [np.where(p.dns_offset >= 0, p.dns_offset + s, -1) for p, s in zip(parts, shifts, strict=True)]
    return PacketBatch(**columns | {"dns_offset": np.concatenate(offsets)})


def compact(batch: PacketBatch) -> PacketBatch:
    """A copy that keeps only its own DNS messages alive."""
    named = batch.dns_offset >= 0
    sizes = batch.dns_bytes[named].astype(np.int64)
    starts = np.cumsum(sizes) - sizes
    places = np.repeat(batch.dns_offset[named] - starts, sizes) + np.arange(int(sizes.sum()))
    offsets = np.full(len(batch), -1, np.int64)
    offsets[named] = starts
    copied = batch.take(np.arange(len(batch)))
    return replace(copied, dns_offset=offsets, data=batch.data[places])
