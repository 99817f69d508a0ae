"""PcapWriter: packet batches → a classic pcap file with nanoseconds and link type LINUX_SLL2.

What is written of a packet: its link, IP and transport headers, for `payload="dns"` the DNS message, and for "all" the
content that the batch holds, whatever the protocol. All other payload is left out, so the captured length is short while the original length keeps the truth, as in a capture with a
small snaplen. Checksums are those of a packet whose left-out payload is zeros.
"""

from __future__ import annotations

import hashlib
import struct
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

import numpy as np

from mimir.capture.batch import PacketBatch
from mimir.files import atomic

MAGIC_NS, LINKTYPE_LINUX_SLL2 = 0xA1B23C4D, 276
_ROWS = 32_768  # rows encoded at a time: their bytes stay in the processor's cache


@dataclass(frozen=True)
class WriterCounts:
    """What a capture file holds: packets, bytes of the file, SHA-256 of the file (hex)."""

    packets: int
    bytes: int
    sha256: str


class PcapWriter:
    """`with PcapWriter(path, snaplen, payload) as writer: writer.write(batch)`.

    The file appears under its name when it is closed; after an error nothing is left. `snaplen` counts from the link
    header on. Rows must come in time order and be TCP, UDP, ICMP (IPv4) or ICMPv6 (IPv6).
    """

    def __init__(self, path: Path, snaplen: int, payload: Literal["none", "dns", "all"]):
        if snaplen < 1:
            raise ValueError(f"snaplen must be > 0 (got {snaplen})")
        self._limits = (snaplen, ("none", "dns", "all").index(payload))
        self._stack = ExitStack()
        self._file = self._stack.enter_context(self._stack.enter_context(atomic(path)).open("wb", buffering=0))
        self._hash = hashlib.sha256()
        self._packets = self._bytes = 0
        self._last_ns = 0
        self._counts: WriterCounts | None = None
        self._room = np.empty(0, dtype=np.uint8)
        self._put(memoryview(struct.pack("<IHHiIII", MAGIC_NS, 2, 4, 0, 0, snaplen, LINKTYPE_LINUX_SLL2)))

    def write(self, batch: PacketBatch) -> None:
        """Append all rows. ValueError names the first that cannot be a packet (order, family, protocol, lengths)."""
        from mimir.capture import packet_encoder as encoder

        columns = encoder.columns(batch)
        _check_messages(batch)
        for begin in range(0, len(batch), _ROWS):
            end = min(begin + _ROWS, len(batch))
            need = (end - begin) * encoder.ROW_BYTES + int(batch.dns_bytes[begin:end].sum(dtype=np.int64))
            if len(self._room) < need:
                self._room = np.empty(need, dtype=np.uint8)
            used, row, error = encoder.encode(self._room, begin, end, self._last_ns, self._limits, columns)
            if error != encoder.OK:
                raise ValueError(_explain(batch, row, error))
            self._last_ns = int(batch.ts_ns[end - 1])
            self._put(self._room[:used].data)
            self._packets += end - begin

    def close(self) -> WriterCounts:
        """Finish the file and say what it holds; may be called again."""
        if self._counts is None:
            self._stack.close()
            self._counts = WriterCounts(self._packets, self._bytes, self._hash.hexdigest())
        return self._counts

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        elif self._counts is None:
            self._stack.__exit__(kind, error, trace)

    def _put(self, data: memoryview) -> None:
        self._hash.update(data)
        self._bytes += len(data)
        while data:
            data = data[self._file.write(data) :]


def _check_messages(batch: PacketBatch) -> None:
    ends = batch.dns_offset + batch.dns_bytes
    beyond = np.flatnonzero((batch.dns_offset >= 0) & (ends > len(batch.data)))
    if len(beyond):
        row = int(beyond[0])
        raise ValueError(f"row {row} of the batch has a DNS message up to byte {ends[row]} of {len(batch.data)}")


def _explain(batch: PacketBatch, row: int, error: int) -> str:
    from mimir.capture import packet_encoder as encoder

    proto = int(batch.proto[row])
    columns = ("ip_bytes", "payload_bytes", "dns_bytes")
    lengths = ", ".join(f"{name} {int(getattr(batch, name)[row])}" for name in columns)
    reason = {
        encoder.BAD_ORDER: f"is earlier ({int(batch.ts_ns[row])} ns) than the row before it",
        encoder.BAD_FAMILY: "mixes an IPv4 and an IPv6 address",
        encoder.BAD_PROTOCOL: f"has protocol {proto} (allowed: TCP 6, UDP 17, ICMP 1 over IPv4, ICMPv6 58 over IPv6)",
        encoder.BAD_LENGTH: f"has lengths no packet can have: protocol {proto}, {lengths}",
    }[error]
    return f"row {row} of the batch {reason}"
