"""The recorder: a process in the node's namespace that writes what passes into a pcap file of link type LINUX_SLL2.

It keeps headers as they were; of payload it keeps nothing, with `dns` the DNS messages over UDP, with `all` whatever fits into
SNAPLEN (capture.payload).
Run as `python -m mimir.cluster.netns.recorder FILE SNAPLEN PAYLOAD RING_MB PARENT`; it prints `ready`, every second how many
packets it has, and when its standard input closes its counts as one line of JSON.
"""

from __future__ import annotations

import hashlib
import select
import struct
import sys
import time
from pathlib import Path
from typing import Any, BinaryIO

from mimir.capture.writer import LINKTYPE_LINUX_SLL2, MAGIC_NS
from mimir.cluster.netns.kernel import die_with_parent
from mimir.cluster.netns.ring import Captured, Ring
from mimir.files import atomic, to_json

_RECORD = struct.Struct("<IIII")
_SLL2 = struct.Struct("!HHIHBB8s")
_TCP, _UDP, _DNS_PORT = 6, 17, 53
SLL2_BYTES = _SLL2.size
_NS = 1_000_000_000
_FLUSH_BYTES = 1 << 20


def kept_bytes(data: bytes, payload: str) -> int:
    """How much of an IPv4 packet is kept: its headers, and of its payload what is wanted."""
    if len(data) < 20 or payload == "all":
        return len(data)
    head = (data[0] & 0x0F) * 4
    if (data[6] & 0x1F) or data[7]:  # a fragment after the first holds no transport header
        return head
    if data[9] == _TCP:
        return head + (data[head + 12] >> 4) * 4 if len(data) > head + 12 else len(data)
    if data[9] == _UDP:
        dns = payload == "dns" and len(data) >= head + 4 and _DNS_PORT in struct.unpack_from("!HH", data, head)
        return len(data) if dns else head + 8
    return head + 8


def record_of(packet: Captured, snaplen: int, payload: str) -> bytes:
    """The pcap record of a packet."""
    keep = min(kept_bytes(packet.data, payload), len(packet.data), snaplen - SLL2_BYTES)
    head = _RECORD.pack(
        packet.ts_ns // _NS, packet.ts_ns % _NS, SLL2_BYTES + keep, SLL2_BYTES + packet.length
    ) + _SLL2.pack(0x0800, 0, packet.ifindex, packet.hatype, packet.pkttype, 6, packet.address)
    return head + packet.data[:keep]


class Recorder:
    """Writes packets of a ring; `counts` says how many, from when to when, and what was lost."""

    def __init__(self, out: BinaryIO, snaplen: int, payload: str):
        self._out, self._snaplen, self._payload = out, snaplen, payload
        self._hash, self._buffer = hashlib.sha256(), bytearray()
        self.packets = self.bytes = self.dropped = 0
        self.first_ns = self.last_ns = 0
        self._put(struct.pack("<IHHiIII", MAGIC_NS, 2, 4, 0, 0, snaplen, LINKTYPE_LINUX_SLL2))

    def drain(self, ring: Ring, wait_ms: int) -> int:
        """Write one block; how many packets it held."""
        count = 0
        for packet in ring.take(wait_ms):
            self._put(record_of(packet, self._snaplen, self._payload))
            self.first_ns = self.first_ns or packet.ts_ns
            self.last_ns = max(self.last_ns, packet.ts_ns)
            count += 1
        self.packets += count
        return count

    def flush(self) -> None:
        """Hand what is buffered to the file."""
        self._hash.update(self._buffer)
        self.bytes += len(self._buffer)
        self._out.write(self._buffer)
        self._buffer.clear()

    def counts(self) -> dict[str, Any]:
        """What was recorded, as JSON values; `seen` counts what the kernel offered."""
        self.flush()
        return {
            "packets": self.packets, "bytes": self.bytes, "dropped": self.dropped, "sha256": self._hash.hexdigest(),
            "first_s": self.first_ns / _NS, "last_s": self.last_ns / _NS,
        }  # fmt: skip

    def _put(self, data: bytes) -> None:
        self._buffer += data
        if len(self._buffer) >= _FLUSH_BYTES:
            self.flush()


def main(arguments: list[str]) -> int:
    """Record until standard input closes."""
    path, snaplen, payload, ring_mb, parent = arguments
    die_with_parent(int(parent))
    ring = Ring(int(snaplen), int(ring_mb) << 20)
    print("ready", flush=True)
    with atomic(Path(path)) as temporary, temporary.open("wb", buffering=0) as out:
        recorder = Recorder(out, int(snaplen), payload)
        told_s = time.monotonic()
        while not select.select([sys.stdin], [], [], 0)[0]:
            recorder.drain(ring, 100)
            if time.monotonic() - told_s >= 1.0:
                told_s = time.monotonic()
                print(recorder.packets, flush=True)
        while recorder.drain(ring, 200):
            pass
        recorder.dropped = ring.drops()
        counts = recorder.counts()
    ring.close()
    print(to_json(counts), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
