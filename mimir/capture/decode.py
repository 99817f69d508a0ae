"""The decoding kernel: a block of bytes → rows of a batch, counting everything that does not become a row."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mimir.capture.fields import Bytes
from mimir.capture.fragments import marked
from mimir.capture.link import ETHERTYPE_IPV4, ETHERTYPE_IPV6, TRUNCATED_LINK, UNSUPPORTED_LINK, link_layer
from mimir.capture.network import LATER_FRAGMENT, WHOLE, Packet, believed, decode_ip
from mimir.capture.overlay import decapsulate, is_overlay
from mimir.capture.pcap import KIND, KIND_PCAPNG, RECORD, SKIP, UNUSABLE, next_record
from mimir.capture.pcapng import NO_TIME, next_block
from mimir.capture.tunnels import OVERLAYS, new_tunnels
from mimir.jit import Int, Records, inlined, kernel

#: beside the splitter's statuses: the batch is full
FULL = 6
#: why a packet is no row; indices of `Tally.skipped`
(
    UNSUPPORTED_LINK_TYPE, NOT_IP, LINK_TRUNCATED, IP_TRUNCATED, IP_MALFORMED, BLOCK_UNUSABLE, UNTIMED, REASONS
) = range(8)  # fmt: skip
REASON_NAMES = (
    "unsupported link type",
    "not IP",
    "link header not captured in full",
    "IP header not captured in full",
    "malformed IP header",
    "pcapng packet block whose numbers contradict each other",
    "no time stamp, and none behind it to take",
)
SKIP_COUNT, SKIP_BYTES, SKIP_FIRST = 0, 1, 2
#: indices of `Tally.sums`
(
    PACKETS, CAPTURED_BYTES, WIRE_BYTES, ROWS, ROW_BYTES, CUT_SHORT, FIRST_NS, LAST_NS, FRAGMENTS, TAGGED, DNS53,
    NO_TIME_STAMP, PREVIOUS_NS, DATA_USED, IP4, IP6, OUT_OF_ORDER, STEP_BACK_NS, BEGIN_NS, LONGER_THAN_FRAME, SUMS,
) = range(21)  # fmt: skip
MAX_DNS_BYTES = 65_535


class Columns(NamedTuple):
    """Room for the rows of one batch, in the order of `PacketBatch`."""

    ts_ns: NDArray[np.int64]
    src: NDArray[np.uint64]
    dst: NDArray[np.uint64]
    proto: NDArray[np.uint8]
    sport: NDArray[np.uint16]
    dport: NDArray[np.uint16]
    frame_bytes: NDArray[np.uint32]
    ip_bytes: NDArray[np.uint32]
    payload_bytes: NDArray[np.uint32]
    tcp_flags: NDArray[np.uint8]
    tcp_seq: NDArray[np.uint32]
    tcp_ack: NDArray[np.uint32]
    ip_id: NDArray[np.uint16]
    ifindex: NDArray[np.int32]
    direction: NDArray[np.uint8]
    tunnel: NDArray[np.int32]
    dns_offset: NDArray[np.int64]
    dns_bytes: NDArray[np.uint16]
    data: NDArray[np.uint8]


class Tally(NamedTuple):
    """Counters of one file. `skipped` is (REASONS, 3): count, wire bytes, offset of the first in the file."""

    sums: NDArray[np.int64]
    skipped: NDArray[np.int64]
    protocols: NDArray[np.int64]
    ethertypes: NDArray[np.int64]
    linktypes: NDArray[np.int64]
    overlays: NDArray[np.int64]
    tunnels: Records


def new_columns(rows: int, data_bytes: int) -> Columns:
    """Uninitialised columns for `rows` rows and `data_bytes` bytes of DNS messages."""
    return Columns(
        ts_ns=np.empty(rows, np.int64),
        src=np.empty((rows, 2), np.uint64),
        dst=np.empty((rows, 2), np.uint64),
        proto=np.empty(rows, np.uint8),
        sport=np.empty(rows, np.uint16),
        dport=np.empty(rows, np.uint16),
        frame_bytes=np.empty(rows, np.uint32),
        ip_bytes=np.empty(rows, np.uint32),
        payload_bytes=np.empty(rows, np.uint32),
        tcp_flags=np.empty(rows, np.uint8),
        tcp_seq=np.empty(rows, np.uint32),
        tcp_ack=np.empty(rows, np.uint32),
        ip_id=np.empty(rows, np.uint16),
        ifindex=np.empty(rows, np.int32),
        direction=np.empty(rows, np.uint8),
        tunnel=np.empty(rows, np.int32),
        dns_offset=np.empty(rows, np.int64),
        dns_bytes=np.empty(rows, np.uint16),
        data=np.empty(data_bytes, np.uint8),
    )


def new_tally(tunnels: Records | None = None) -> Tally:
    """All zero; no first and last time yet. `tunnels` are those known from earlier files."""
    sums, skipped = np.zeros(SUMS, np.int64), np.zeros((REASONS, 3), np.int64)
    sums[FIRST_NS], sums[LAST_NS], skipped[:, SKIP_FIRST] = 2**63 - 1, NO_TIME, -1
    sums[PREVIOUS_NS] = sums[BEGIN_NS] = NO_TIME
    return Tally(
        sums=sums,
        skipped=skipped,
        protocols=np.zeros(1 << 8, np.int64),
        ethertypes=np.zeros(1 << 16, np.int64),
        linktypes=np.zeros(1 << 16, np.int64),
        overlays=np.zeros(OVERLAYS, np.int64),
        tunnels=new_tunnels() if tunnels is None else tunnels,
    )


@kernel
def skip(tally: Tally, reason: Int, wire: Int, offset: Int) -> None:
    """Count a packet that does not become a row."""
    if tally.skipped[reason, SKIP_COUNT] == 0:
        tally.skipped[reason, SKIP_FIRST] = offset
    tally.skipped[reason, SKIP_COUNT] += 1
    tally.skipped[reason, SKIP_BYTES] += wire


@inlined
def count_record(tally: Tally, ts_ns: Int, captured: Int, wire: Int, linktype: Int) -> Int:
    """Count one record; returns its time, or the previous record's when it has none (NO_TIME before the first time)."""
    sums = tally.sums
    sums[PACKETS] += 1
    sums[CAPTURED_BYTES] += captured
    sums[WIRE_BYTES] += wire
    tally.linktypes[np.uint64(linktype)] += 1
    if captured < wire:
        sums[CUT_SHORT] += 1
    if ts_ns == NO_TIME:
        sums[NO_TIME_STAMP] += 1
        return sums[PREVIOUS_NS]
    sums[PREVIOUS_NS] = ts_ns
    if ts_ns < sums[FIRST_NS]:
        sums[FIRST_NS] = ts_ns
        if sums[BEGIN_NS] == NO_TIME:
            sums[BEGIN_NS] = ts_ns
    if ts_ns >= sums[LAST_NS]:
        sums[LAST_NS] = ts_ns
    else:
        sums[OUT_OF_ORDER] += 1
        sums[STEP_BACK_NS] = max(sums[STEP_BACK_NS], sums[LAST_NS] - ts_ns)
    return ts_ns


@kernel
def copy_dns(buf: Bytes, p: Packet, end: Int, out: Columns, row: Int, used: Int) -> Int:
    """Copy the captured part of a DNS message behind the others; returns the bytes used."""
    start = p.transport + 8
    size = min(end - start, p.payload_bytes, MAX_DNS_BYTES)
    if p.transport < 0 or size <= 0:
        out.dns_offset[np.uint64(row)], out.dns_bytes[np.uint64(row)] = -1, 0
        return used
    for i in range(size):
        out.data[used + i] = buf[start + i]
    out.dns_offset[row], out.dns_bytes[row] = used, size
    return used + size


@inlined
def write_row(
    out: Columns, row: Int, p: Packet, ts_ns: Int, wire: Int, ifindex: Int, direction: Int, tunnel: Int
) -> None:
    """One packet into row `row`."""
    i = np.uint64(row)
    out.ts_ns[i] = ts_ns
    out.src[i, 0], out.src[i, 1] = p.src_high, p.src_low
    out.dst[i, 0], out.dst[i, 1] = p.dst_high, p.dst_low
    out.proto[i] = p.proto
    out.sport[i], out.dport[i] = p.sport, p.dport
    out.frame_bytes[i], out.ip_bytes[i], out.payload_bytes[i] = wire, p.ip_bytes, p.payload_bytes
    out.tcp_flags[i], out.tcp_seq[i], out.tcp_ack[i] = p.tcp_flags, p.tcp_seq, p.tcp_ack
    out.ip_id[i] = p.ip_id
    out.ifindex[i], out.direction[i], out.tunnel[i] = ifindex, direction, tunnel


@inlined
def decode_frame(
    buf: Bytes, frame: int, captured: int, wire: int, ts_ns: int, interface: int, linktype: int,
    out: Columns, row: int, tally: Tally, offset: int, overlays: bool,
) -> int:  # fmt: skip
    """One frame → one row or none; returns the number of the next free row."""
    end, sums = frame + captured, tally.sums
    ethertype, at, tags, ifindex, direction = link_layer(buf, frame, end, linktype)
    if tags > 0:
        sums[TAGGED] += 1
    if ethertype != ETHERTYPE_IPV4 and ethertype != ETHERTYPE_IPV6:
        if ethertype >= 0:
            tally.ethertypes[np.uint64(ethertype)] += 1
        reason = UNSUPPORTED_LINK_TYPE if ethertype == UNSUPPORTED_LINK else NOT_IP
        skip(tally, LINK_TRUNCATED if ethertype == TRUNCATED_LINK else reason, wire, offset)
        return row
    tally.ethertypes[np.uint64(ethertype)] += 1
    p = decode_ip(buf, at, end, wire - (at - frame))
    if p.status < 0:
        skip(tally, IP_TRUNCATED if p.status == -1 else IP_MALFORMED, wire, offset)
        return row
    if p.ip_bytes > wire - (at - frame) and p.ip_bytes > end - at:  # rare
        sums[LONGER_THAN_FRAME] += 1
        p = believed(p, max(wire, captured) - (at - frame))
    tunnel = -1
    if overlays and is_overlay(p):
        ethertype, p, tunnel = decapsulate(buf, end, ethertype, p, tally.overlays, tally.tunnels)
    write_row(out, row, p, ts_ns, wire, ifindex if ifindex >= 0 else interface, direction, tunnel)
    out.dns_offset[np.uint64(row)], out.dns_bytes[np.uint64(row)] = -1, 0
    if p.status != WHOLE:
        sums[FRAGMENTS] += 1
        out.tunnel[row], out.ip_id[row] = marked(tunnel, p.status), p.fragment & 0xFFFF
    tally.protocols[np.uint64(p.proto)] += 1
    if ethertype == ETHERTYPE_IPV4:
        sums[IP4] += 1
    else:
        sums[IP6] += 1
    if (p.sport == 53 or p.dport == 53) and (p.proto == 17 or p.proto == 6):
        sums[DNS53] += 1
    if (p.sport == 53 or p.dport == 53) and p.proto == 17 and p.status != LATER_FRAGMENT:
        sums[DATA_USED] = copy_dns(buf, p, end, out, row, sums[DATA_USED])
    sums[ROWS] += 1
    sums[ROW_BYTES] += wire
    return row + 1


@kernel
def decode_block(
    buf: Bytes, at: int, end: int, base: int, fmt: NDArray[np.int64], interfaces: NDArray[np.int64],
    out: Columns, row: int, tally: Tally, overlays: bool,
) -> tuple[int, int, int, int]:  # fmt: skip
    """Records of `buf[at:end]` → rows from `row` on; `base` is the place of `buf[0]` in the file.

    Returns (status, where it stopped, next free row, bytes needed or the end of a block to skip).
    """
    capacity = len(out.ts_ns)
    room = len(out.data) - MAX_DNS_BYTES
    pcapng = fmt[KIND] == KIND_PCAPNG
    while True:
        if row >= capacity or tally.sums[DATA_USED] > room:
            return FULL, at, row, 0
        record = next_block(buf, at, end, fmt, interfaces) if pcapng else next_record(buf, at, end, fmt)
        status, following, frame, captured, wire, ts_ns, interface, linktype = record
        if status == RECORD:
            ts_ns = count_record(tally, ts_ns, captured, wire, linktype)
            row = decode_frame(
                buf, frame, captured, wire, ts_ns, interface, linktype, out, row, tally, base + at, overlays
            )
            at = following
        elif status == UNUSABLE:
            tally.sums[PACKETS] += 1
            skip(tally, BLOCK_UNUSABLE, 0, base + at)  # its own lengths cannot be believed
            at = following
        elif status == SKIP and following <= end:
            at = following
        else:
            return status, at, row, following
