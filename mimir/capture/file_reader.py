"""One capture file → PacketBatches: refills a buffer, answers the kernel's questions, reports damage."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mimir.capture import decode, pcap, pcapng
from mimir.capture.batch import PacketBatch
from mimir.capture.counts import CaptureCounts, Damage
from mimir.capture.growth import Growth
from mimir.capture.pcap import BLOCK, DAMAGED, MORE, SKIP
from mimir.capture.sources import Source, what_it_is
from mimir.capture.untimed import Untimed
from mimir.errors import CaptureError
from mimir.jit import Records

#: read at a time: what the second-level cache of a core holds with room to spare
BLOCK_BYTES = 1 << 18
BATCH_ROWS = 1 << 15
DNS_ROOM_BYTES = 1 << 20


class FileReader:
    """One file: refills the buffer, answers the kernel's questions, reports damage."""

    def __init__(
        self, path: Path, counts: CaptureCounts, block_bytes: int, batch_rows: int, overlays: bool,
        growth: Growth | None = None, tunnels: Records | None = None,
    ):  # fmt: skip
        self.path, self.counts, self.growth = path, counts, growth
        self.source = Source(path)
        self.tally = decode.new_tally(tunnels)
        if counts.last_ns is not None:
            self.tally.sums[decode.LAST_NS] = counts.last_ns
        self.rows, self.overlays = batch_rows, overlays
        self.buffer: NDArray[np.uint8] = np.empty(max(block_bytes, 64), np.uint8)
        self.at, self.end, self.base = 0, 0, 0  #: unread part of the buffer; place of buffer[0] in the file
        self.order: pcapng.Order = "little"
        self.table: list[list[int]] = []
        self.interfaces: NDArray[np.int64] = np.zeros((1, 5), np.int64)
        try:
            if growth and self.source.codec:
                raise CaptureError(path, f"a {self.source.codec} file cannot be followed while it is written")
            self.fmt = self._format()
        except CaptureError:
            self.close()
            raise

    def close(self) -> None:
        """Close the file."""
        self.source.close()

    def _format(self) -> NDArray[np.int64]:
        self._need(pcap.HEADER_BYTES)
        head = self._peek(pcap.HEADER_BYTES)
        if not head:
            self._raise_damage()
            raise CaptureError(self.path, "the file is empty")
        if head[:4] == b"\x0a\x0d\x0d\x0a":
            self._section(pcapng.new_format())
            return self.fmt
        if {int.from_bytes(head[:4], "little"), int.from_bytes(head[:4], "big")} & pcap.MAGICS.keys():
            fmt = pcap.parse_header(self.path, head)
            self.at = pcap.HEADER_BYTES
            return fmt
        self._raise_damage()
        raise CaptureError(
            self.path, f"not a pcap or pcapng file (it begins with {head[:4].hex(' ')}){what_it_is(self.path, head)}"
        )

    def _raise_damage(self) -> None:
        if self.source.damage:
            raise CaptureError(self.path, self.source.damage, self.source.offset)

    def _read(self, room: memoryview, least: int) -> int:
        """Fill `room`, at least `least` bytes of it unless the file ends; a growing file is waited for."""
        if self.growth is None:
            return self.source.readinto(room, least)
        done = 0
        while True:
            last = self.growth.over()
            got = self.source.readinto(room[done:], least - done)
            done += got
            if done >= least or last or self.source.damage or (self.source.stream and not got):
                return done
            self.growth.looked(got)

    def _peek(self, size: int) -> bytes:
        return self.buffer[self.at : min(self.at + size, self.end)].tobytes()

    def _need(self, size: int) -> bool:
        """Have `size` bytes from `at` on in the buffer (it grows to one record or block); False at the end of file."""
        if self.end - self.at >= size:
            return True
        left = self.end - self.at
        if size > len(self.buffer):
            grown = np.empty(size + len(self.buffer), np.uint8)
            grown[:left] = self.buffer[self.at : self.end]
            self.buffer = grown
        else:
            self.buffer[:left] = self.buffer[self.at : self.end].copy()
        self.base += self.at
        self.at, self.end = 0, left
        self.end += self._read(self.buffer.data[left:], size - left)
        return self.end >= size

    def batches(self) -> Iterator[PacketBatch]:
        """All batches of the file; counts are added when it ends, also early."""
        untimed = Untimed(self.tally)
        try:
            for batch in self._decoded():
                yield from untimed.timed(batch)
            yield from untimed.rest()
        finally:
            self.counts.add(self.tally, str(self.path))

    def _decoded(self) -> Iterator[PacketBatch]:
        out, row = decode.new_columns(self.rows, DNS_ROOM_BYTES), 0
        while True:
            self.tally.sums[decode.DATA_USED] = self.tally.sums[decode.DATA_USED] if row else 0
            status, self.at, row, following = decode.decode_block(
                self.buffer, self.at, self.end, self.base, self.fmt, self.interfaces, out, row, self.tally,
                self.overlays,
            )  # fmt: skip
            if status == decode.FULL or (self.growth and row and status == MORE):
                yield self._batch(out, row)
                out, row = decode.new_columns(self.rows, DNS_ROOM_BYTES), 0
            elif not self._resolve(status, following):
                break
        if row:
            yield self._batch(out, row)

    def _batch(self, out: decode.Columns, rows: int) -> PacketBatch:
        used = int(self.tally.sums[decode.DATA_USED])
        columns = {name: column[:rows] for name, column in out._asdict().items()}
        return PacketBatch(**columns | {"data": out.data[:used].copy()})

    def _resolve(self, status: int, following: int) -> bool:
        """Give the kernel what it asked for; False when the file is done."""
        if status == MORE:
            return self._need(following) or self._ended()
        if status == SKIP:
            return self._skip(following)
        if status == BLOCK:
            return self._block()
        if status == DAMAGED:
            self._damage("a record claims a length that cannot be", self.base + self.at)
        return False

    def _ended(self) -> bool:
        """Report what stands behind the last whole record, if anything."""
        left = self.end - self.at
        if self.growth and not self.source.damage:
            self.counts.unfinished_bytes += left
        elif self.source.damage:
            self._damage(self.source.damage, self.source.offset)
        elif left:
            self._damage(f"the file ends inside a record ({left} bytes of it are there)", self.base + self.at)
        return False

    def _damage(self, reason: str, offset: int) -> None:
        unread = None if self.source.size is None else max(self.source.size - offset, 0)
        self.counts.damaged.append(Damage(str(self.path), offset, reason, unread))

    def _skip(self, following: int) -> bool:
        """Step over a block that reaches beyond the buffer."""
        rest = following - self.end
        start = self.base + self.at
        self.base, self.at, self.end = self.base + self.end, 0, 0
        while rest > 0:
            size = min(rest, len(self.buffer))
            got = self._read(self.buffer.data[:size], size)
            if not got and self.growth and not self.source.damage:
                return False
            if not got:
                self._damage(self.source.damage or "the file ends inside a block", start)
                return False
            rest, self.base = rest - got, self.base + got
        return True

    def _block(self) -> bool:
        """Section header or interface description; damage in a later one ends the file, not the run."""
        try:
            if not self._need(12):
                return self._ended()
            if self._peek(4) == b"\x0a\x0d\x0d\x0a":
                self._section(self.fmt)
                return True
            return self._interface()
        except CaptureError as error:
            self._damage(error.reason, error.offset)
            return False

    def _section(self, fmt: NDArray[np.int64]) -> None:
        self._need(28)
        self.order, total = pcapng.section_length(self.path, self._peek(28), self.base + self.at)
        if not self._need(total):
            raise CaptureError(self.path, "the file ends inside a pcapng section header", self.base + self.at)
        pcapng.check_block(self.path, self._peek(total), self.order, 24, self.base + self.at)
        self.at += total
        self.table = []
        fmt[pcap.BIG], fmt[pcap.INTERFACES] = self.order == "big", 0
        self.fmt = fmt

    def _interface(self) -> bool:
        total = int.from_bytes(self._peek(8)[4:8], self.order)
        offset = self.base + self.at
        if not 20 <= total <= pcapng.MAX_BLOCK_BYTES or total % 4 or len(self.table) >= pcapng.MAX_INTERFACES:
            raise CaptureError(self.path, f"a pcapng interface block claims {total} bytes", offset)
        if not self._need(total):
            return self._ended()
        block = self._peek(total)
        pcapng.check_block(self.path, block, self.order, 16, offset)
        self.table.append(pcapng.parse_interface(block, self.order))
        if len(self.table) > len(self.interfaces):
            grown = np.zeros((2 * len(self.interfaces), 5), np.int64)
            grown[: len(self.interfaces)] = self.interfaces
            self.interfaces = grown
        self.interfaces[len(self.table) - 1] = self.table[-1]
        self.fmt[pcap.INTERFACES] = len(self.table)
        self.at += total
        return True
