"""The beginnings of DNS, TLS and HTTP/1 messages in captures that hold payload, found by one kernel pass.

What is looked for: DNS by its ports, a TLS hello and an HTTP/1 head by the first bytes of a TCP segment on any
port. Everything else stays uncopied, so memory is bounded by a block and one batch of messages.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mimir.capture import decode
from mimir.capture.counts import CaptureCounts
from mimir.capture.fields import Bytes, be16, byte
from mimir.capture.file_reader import BLOCK_BYTES, FileReader
from mimir.capture.link import ETHERTYPE_IPV4, ETHERTYPE_IPV6, link_layer
from mimir.capture.network import LATER_FRAGMENT, WHOLE, Packet, believed, decode_ip
from mimir.capture.overlay import decapsulate, is_overlay
from mimir.capture.pcap import KIND, KIND_PCAPNG, RECORD, SKIP, UNUSABLE, next_record
from mimir.capture.pcapng import NO_TIME as NO_TIME
from mimir.capture.pcapng import next_block
from mimir.capture.sources import is_empty
from mimir.jit import Int, inlined, kernel

NOTHING, DNS, TLS, HTTP = 0, 1, 2, 3
#: DNS, multicast DNS (and the DNS pods of OpenShift), LLMNR
DNS_PORTS = (53, 5353, 5355)
#: bytes looked at: a DNS message whole, of TLS and HTTP the largest TLS record
MAX_DNS_BYTES, MAX_HEAD_BYTES = 65_535, 16_389
BATCH_MESSAGES, BATCH_BYTES = 4096, 1 << 20
MAX_METHOD_BYTES = 20


class Messages(NamedTuple):
    """Columns of `n` messages; message i is `data[start[i]:start[i] + size[i]]`."""

    packet: NDArray[np.int64]  #: number of the packet in its file, from 1, as Wireshark counts
    ts_ns: NDArray[np.int64]
    src: NDArray[np.uint64]  #: (n, 2), as in PacketBatch; the innermost packet's
    dst: NDArray[np.uint64]
    proto: NDArray[np.uint8]
    sport: NDArray[np.uint16]
    dport: NDArray[np.uint16]
    kind: NDArray[np.uint8]  #: DNS, TLS or HTTP
    whole: NDArray[np.bool_]  #: is the payload of this packet there to its end?
    start: NDArray[np.int64]
    size: NDArray[np.int64]
    data: NDArray[np.uint8]


def read_messages(files: Sequence[Path], counts: CaptureCounts) -> Iterator[tuple[int, Messages]]:
    """(number of the file from 1, messages) in the order the files are given; damage is reported in `counts`.

    Raises CaptureError for a file that is no capture.
    """
    for number, path in enumerate(files, 1):
        if len(files) > 1 and is_empty(path):
            counts.note_empty(str(path))
            continue
        reader = _MessageReader(path, counts, BLOCK_BYTES, 1, overlays=True)
        try:
            yield from ((number, messages) for messages in reader.messages())
        finally:
            reader.close()


class _MessageReader(FileReader):
    """Refills and damage as in the packet reader; another kernel."""

    def messages(self) -> Iterator[Messages]:
        """Batches of messages; none is empty."""
        out, row, used = _room(), 0, 0
        while True:
            status, self.at, row, used, following = find_messages(
                self.buffer, self.at, self.end, self.fmt, self.interfaces, out, row, used, self.tally
            )
            if status == decode.FULL:
                yield _filled(out, row)
                out, row, used = _room(), 0, 0
            elif not self._resolve(status, following):
                break
        if row:
            yield _filled(out, row)


def _room() -> Messages:
    n = BATCH_MESSAGES
    kinds = (np.int64, np.int64, np.uint64, np.uint64, np.uint8, np.uint16, np.uint16, np.uint8, np.bool_, np.int64)
    columns = [np.empty((n, 2) if kind is np.uint64 else n, kind) for kind in (*kinds, np.int64)]
    return Messages._make([*columns, np.empty(BATCH_BYTES, np.uint8)])


def _filled(room: Messages, rows: int) -> Messages:
    return Messages._make([*(column[:rows] for column in room[:-1]), room.data])


@kernel
def find_messages(
    buf: Bytes, at: int, end: int, fmt: NDArray[np.int64], interfaces: NDArray[np.int64], out: Messages, row: int,
    used: int, tally: decode.Tally,
) -> tuple[int, int, int, int, int]:  # fmt: skip
    """Records of `buf[at:end]` → messages from `row` and byte `used` on.

    Returns (status, where it stopped, next free row, next free byte, bytes needed or the end of a block to skip).
    """
    pcapng = fmt[KIND] == KIND_PCAPNG
    while True:
        if row >= len(out.packet) or used > len(out.data) - MAX_DNS_BYTES:
            return decode.FULL, at, row, used, 0
        record = next_block(buf, at, end, fmt, interfaces) if pcapng else next_record(buf, at, end, fmt)
        status, following, frame, captured, wire, ts_ns, _, linktype = record
        if status == RECORD:
            ts_ns = decode.count_record(tally, ts_ns, captured, wire, linktype)
            size = take_message(buf, frame, frame + captured, wire, ts_ns, linktype, out, row, used, tally)
            if size > 0:
                row, used = row + 1, used + size
            at = following
        elif status == UNUSABLE:
            tally.sums[decode.PACKETS] += 1
            at = following
        elif status == SKIP and following <= end:
            at = following
        else:
            return status, at, row, used, following


@inlined
def take_message(
    buf: Bytes, frame: Int, end: Int, wire: Int, ts_ns: Int, linktype: Int, out: Messages, row: Int, used: Int,
    tally: decode.Tally,
) -> Int:  # fmt: skip
    """Copy the message that begins in a frame, if there is one; returns its captured bytes (0: none)."""
    ethertype, at, _, _, _ = link_layer(buf, frame, end, linktype)
    if ethertype != ETHERTYPE_IPV4 and ethertype != ETHERTYPE_IPV6:
        return 0
    p = decode_ip(buf, at, end, wire - (at - frame))
    if p.status < 0:
        return 0
    p = believed(p, max(wire, end - frame) - (at - frame))
    if is_overlay(p):
        ethertype, p, _ = decapsulate(buf, end, ethertype, p, tally.overlays, tally.tunnels)
    start = payload_start(buf, p, end)
    size = min(end - start, p.payload_bytes)
    if start < 0 or size <= 0:
        return 0
    kind = message_kind(buf, start, start + size, p)
    if kind == NOTHING:
        return 0
    i, whole = np.uint64(row), size >= p.payload_bytes and p.status == WHOLE
    size = min(size, MAX_DNS_BYTES if kind == DNS else MAX_HEAD_BYTES)
    out.packet[i], out.ts_ns[i] = tally.sums[decode.PACKETS], ts_ns
    out.src[i, 0], out.src[i, 1] = p.src_high, p.src_low
    out.dst[i, 0], out.dst[i, 1] = p.dst_high, p.dst_low
    out.proto[i], out.sport[i], out.dport[i] = p.proto, p.sport, p.dport
    out.kind[i], out.whole[i], out.start[i], out.size[i] = kind, whole, used, size
    for place in range(size):
        out.data[used + place] = buf[start + place]
    return size


@inlined
def payload_start(buf: Bytes, p: Packet, end: Int) -> Int:
    """Where the payload of a TCP or UDP packet begins; -1 when there is none to read."""
    if p.transport < 0 or p.status == LATER_FRAGMENT:
        return -1
    if p.proto == 17 and end - p.transport > 8:
        return p.transport + 8
    if p.proto == 6 and end - p.transport > 20:
        return p.transport + max((byte(buf, p.transport + 12) >> 4) * 4, 20)
    return -1


@kernel
def message_kind(buf: Bytes, at: Int, end: Int, p: Packet) -> Int:
    """What begins at `buf[at:end]`, by port for DNS and by the first bytes for the rest."""
    for port in DNS_PORTS:
        if p.sport == port or p.dport == port:
            return DNS
    if p.proto != 6 or end - at < 6:
        return NOTHING
    first = byte(buf, at)
    if first == 0x16 and byte(buf, at + 1) == 3 and 1 <= byte(buf, at + 5) <= 2:
        return TLS
    if first == 0x48 and byte(buf, at + 1) == 0x54 and be16(buf, at + 2) == 0x5450 and byte(buf, at + 4) == 0x2F:
        return HTTP  # "HTTP/"
    for place in range(at, min(at + MAX_METHOD_BYTES, end)):
        letter = byte(buf, place)
        if letter == 0x20:
            return HTTP if place - at >= 3 else NOTHING
        if not (0x41 <= letter <= 0x5A or letter == 0x2D or letter == 0x5F):
            return NOTHING
    return NOTHING
