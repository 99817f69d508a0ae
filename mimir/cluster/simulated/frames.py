"""Packets as the loops left them → `PacketBatch`es in order of time, DNS messages included."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from mimir.capture.batch import UDP, PacketBatch, ipv4_column
from mimir.cluster.simulated.tables import PACKET, Rows
from mimir.exfiltration.dns_messages import render

BATCH_ROWS = 1 << 18


def in_order(rows: Rows, begin_ns: int) -> Rows:
    """Rows by time, and by position where times are equal; `begin_ns` is no later than any of them."""
    bits = max(1, (len(rows) - 1).bit_length())
    keys = ((rows["ts"] - begin_ns) << bits) | np.arange(len(rows))
    keys.sort()
    ordered: Rows = rows[keys & ((1 << bits) - 1)]
    return ordered


def batches(rows: Rows, messages: Sequence[bytes]) -> Iterator[PacketBatch]:
    """Batches of at most BATCH_ROWS rows; `message` points into `messages`; of DNS `seq` is the transaction id."""
    for begin in range(0, len(rows), BATCH_ROWS):
        yield _batch(rows[begin : begin + BATCH_ROWS], messages)


def empty(count: int) -> Rows:
    """Room for packets, not initialised."""
    return np.empty(count, dtype=PACKET)


def _batch(rows: Rows, messages: Sequence[bytes]) -> PacketBatch:
    ip_bytes = rows["ip_bytes"].astype(np.uint32)
    seq, data = rows["seq"].copy(), np.empty(0, dtype=np.uint8)
    offsets, sizes = np.full(len(rows), -1, dtype=np.int64), np.zeros(len(rows), dtype=np.uint16)
    held, udp = rows["message"] >= 0, rows["proto"] == UDP
    dns: NDArray[np.int64] = np.flatnonzero(held & udp)
    if len(dns):
        data, offsets[dns], sizes[dns] = render(
            messages, rows["message"][dns].astype(np.int64), seq[dns].astype(np.int64)
        )
        seq[dns] = 0
    other: NDArray[np.int64] = np.flatnonzero(held & ~udp)
    if len(other):
        content = [messages[number] for number in rows["message"][other].tolist()]
        sizes[other] = [len(piece) for piece in content]
        offsets[other] = len(data) + np.cumsum(sizes[other], dtype=np.int64) - sizes[other]
        data = np.concatenate([data, np.frombuffer(b"".join(content), dtype=np.uint8)])
    return PacketBatch(
        ts_ns=rows["ts"].copy(), src=ipv4_column(rows["src"]), dst=ipv4_column(rows["dst"]), proto=rows["proto"].copy(),
        sport=rows["sport"].copy(), dport=rows["dport"].copy(), frame_bytes=ip_bytes + np.uint32(20), ip_bytes=ip_bytes,
        payload_bytes=rows["payload"].astype(np.uint32), tcp_flags=rows["flags"].copy(), tcp_seq=seq,
        tcp_ack=rows["ack"].copy(), ip_id=rows["ip_id"].copy(), ifindex=rows["ifindex"].copy(),
        direction=rows["direction"].copy(), tunnel=np.full(len(rows), -1, np.int32), dns_offset=offsets, dns_bytes=sizes, data=data,
    )  # fmt: skip
