"""What a fuzzer calls on connections: bytes as packets of a few endpoints through tracker and legs, with what must always hold.

Works on machine code and, with NUMBA_DISABLE_JIT=1, in plain Python, where every index is checked and a fuzzer sees its way.
"""

from __future__ import annotations

import struct
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from mimir.capture.batch import PacketBatch, ipv4_column
from mimir.flows import settle, table
from mimir.flows.addresses import parse_address
from mimir.flows.connections import ConnectionTracker
from mimir.flows.identity import Identity, Name
from mimir.flows.settle import N_COUNTERS, REQUEST_BYTES, REQUEST_PACKETS, RESPONSE_BYTES, RESPONSE_PACKETS

#: a packet: who to whom, ports, protocol and flags, sequence, acknowledgement, step in time, place, size
PACKET = struct.Struct("<BBBBBbBB")
ADDRESSES = ("10.0.0.1", "10.0.0.2", "10.0.0.3", "10.96.0.1", "10.96.0.2", "192.168.0.5", "192.168.0.6", "8.8.8.8")
ROLES = {"10.96.0.1": "service", "10.96.0.2": "service", "192.168.0.5": "node", "192.168.0.6": "node"}
PORTS = (40_000, 40_001, 50_000, 80, 8080, 53, 30_080, 0)
PROTOCOLS = (6, 6, 6, 6, 17, 17, 1, 132)
STEPS_NS = (0, 5_000, 10**6, 10**8, 10**9, 3 * 10**9, 2 * 10**10, 4 * 10**11)
START_NS, MOST_PACKETS, DNS_BYTES = 1_700_000_000_000_000_000, 256, 32
Rows = list[tuple[int | str, ...]]


def in_python() -> None:
    """Let plain Python see records as kernels do, and forgive arithmetic that wraps."""
    for name in ("CONNECTION", "SIDE", "ROW", "ADDRESS", "ENDPOINT"):
        setattr(table, name, np.dtype((np.record, getattr(table, name))))
    np.seterr(over="ignore")


if numba.config.DISABLE_JIT:  # type: ignore[attr-defined]
    in_python()


class Small(ConnectionTracker):
    """A tracker that has to make room all the time."""

    def __init__(self, identity: Identity, most: int):
        super().__init__(identity, 1, 120, most)
        learned = self._table.endpoints
        self._table = table.new_table(2, 2, 2, len(identity.endpoints), most)._replace(endpoints=learned)
        self._edges = settle.new_edges(2)


def packets(data: bytes) -> PacketBatch:
    """Any bytes → a batch; behind the first byte, every 8 are a packet."""
    fields = list(PACKET.iter_unpack(data[1 : 1 + (len(data) - 1) // PACKET.size * PACKET.size]))[:MOST_PACKETS]
    n = len(fields)
    ends, ports, kind, seq, ack, step, place, size = np.array(fields or [(0,) * 8], np.int64)[:n].T
    steps = np.array(STEPS_NS)[np.abs(step) % 8] * np.where(step < 0, -1, 1)
    address = ipv4_column(np.array([parse_address(text)[1] & 0xFFFFFFFF for text in ADDRESSES], np.uint32))
    proto = np.array(PROTOCOLS, np.uint8)[kind & 7]
    tcp, sport, dport = proto == 6, np.array(PORTS)[ports & 7], np.array(PORTS)[ports >> 3 & 7]
    payload = np.where(size < 64, 0, (size - 64) * 7)
    named = (proto == 17) & (dport == 53)
    columns: dict[str, Any] = {
        "ts_ns": START_NS + np.cumsum(steps), "src": address[ends & 7], "dst": address[ends >> 3 & 7],
        "proto": proto, "sport": sport.astype(np.uint16), "dport": dport.astype(np.uint16),
        "frame_bytes": (payload + 54).astype(np.uint32), "ip_bytes": (payload + 40).astype(np.uint32),
        "payload_bytes": payload.astype(np.uint32), "tcp_flags": np.where(tcp, kind >> 3, 0).astype(np.uint8),
        "tcp_seq": np.where(tcp, seq * 301 - 500, 0).astype(np.uint32),
        "tcp_ack": np.where(tcp, ack * 301 - 500, 0).astype(np.uint32), "ip_id": (ack % 5).astype(np.uint16),
        "ifindex": ((place & 7) - 2).astype(np.int32), "direction": np.array([0, 4, 2, 255], np.uint8)[place >> 3 & 3],
        "tunnel": ((place >> 5) - 1).astype(np.int32), "dns_offset": np.where(named, seq, -1),
        "dns_bytes": np.where(named, DNS_BYTES, 0).astype(np.uint16), "data": _text(data),
    }  # fmt: skip
    return PacketBatch(**columns)


def _text(data: bytes) -> NDArray[np.uint8]:
    return np.resize(np.frombuffer(data or b"\0", np.uint8), 256 + DNS_BYTES).copy()


def edges(data: bytes, rows: int, most: int) -> tuple[Rows, ConnectionTracker]:
    """Sorted edges of the packets in `data`, handed over `rows` at a time with at most `most` connections."""
    batch, knows = packets(data), data[:1] and data[0] & 1
    known = {(parse_address(a), 0): {role} for a, role in ROLES.items()} if knows else {}
    if knows and data[0] & 2:
        known[parse_address("192.168.0.5"), 30_080] = {"node_port"}
    tracker = Small(Identity(endpoints=known), most)
    for start in range(0, len(batch), rows):
        tracker.add(batch.take(slice(start, start + rows)))
    e = tracker.finish()
    names: list[Name] = e.names
    found = [
        (names[ends >> 32].pod, names[ends & 0xFFFFFFFF].pod, service >> 8, service & 0xFF, window, *counters)
        for window, ends, service, *counters in e.cells.tolist()
    ]
    return sorted(found), tracker


def check(data: bytes) -> int:
    """Follow the packets of `data`; returns how many there are. Raises AssertionError, or whatever a bug raises."""
    batch = packets(data)
    for most in (1 << 9, 8):
        whole, tracker = edges(data, MOST_PACKETS, most)
        pieces, again = edges(data, 1, most)
        assert whole == pieces
        assert (tracker.copies(), tracker.proofs()) == (again.copies(), again.proofs())
        counters = np.array([line[-N_COUNTERS:] for line in whole], np.int64).reshape(-1, N_COUNTERS).sum(axis=0)
        assert counters.min() >= 0
        removed = [sum(rule[unit] for rule in tracker.copies().values()) for unit in ("packets", "bytes")]
        counted = [counters[REQUEST_PACKETS] + counters[RESPONSE_PACKETS], counters[REQUEST_BYTES] + counters[RESPONSE_BYTES]]  # fmt: skip
        assert counted[0] + removed[0] == len(batch)
        assert counted[1] + removed[1] == batch.ip_bytes.sum()
        assert removed == [sum(proof[unit] for proof in tracker.proofs().values()) for unit in ("packets", "bytes")]
        assert most < len(batch) or tracker.evicted_early() == 0
    return len(batch)
