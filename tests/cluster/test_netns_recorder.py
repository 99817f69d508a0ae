"""What the recorder of the testbed keeps of a packet."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import numpy as np
import pytest

from mimir.capture import open_capture
from mimir.cluster.netns.recorder import Recorder, kept_bytes, record_of
from mimir.cluster.netns.ring import Captured

ADDRESSES = bytes([10, 244, 0, 2, 10, 244, 0, 3])


def ip(proto: int, rest: bytes, offset: int = 0) -> bytes:
    return struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(rest), 7, offset, 64, proto, 0) + ADDRESSES + rest


TCP = ip(6, struct.pack("!HHIIBBHHH", 40_000, 80, 1, 2, 8 << 4, 0x18, 512, 0, 0) + bytes(12) + b"secret")
DNS = ip(17, struct.pack("!HHHH", 40_000, 53, 8 + 30, 0) + b"q" * 30)
OTHER = ip(17, struct.pack("!HHHH", 40_000, 123, 8 + 30, 0) + b"q" * 30)


@pytest.mark.parametrize(
    ("packet", "payload", "kept"),
    [(TCP, "dns", 52), (TCP, "none", 52), (TCP, "all", 58), (DNS, "dns", 58), (DNS, "none", 28), (OTHER, "dns", 28),
     (ip(6, b"x" * 40, 5), "dns", 20)],
)  # fmt: skip
def test_only_headers_and_wanted_payload_are_kept(packet: bytes, payload: str, kept: int) -> None:
    assert kept_bytes(packet, payload) == kept


def test_payload_never_reaches_the_file() -> None:
    record = record_of(Captured(1, len(TCP), TCP, 3, 1, 4, bytes(8)), 320, payload="dns")
    assert b"secret" not in record
    assert struct.unpack_from("<IIII", record) == (0, 1, 20 + 52, 20 + len(TCP))


class FakeRing:
    def __init__(self, packets: list[Captured]):
        self.packets = packets

    def take(self, wait_ms: int) -> list[Captured]:
        taken, self.packets = self.packets, []
        return taken


def test_the_file_is_read_back_as_what_was_seen(tmp_path: Path) -> None:
    seen = [Captured(5 * 10**9 + k, len(p), p, 3 + k, 1, 4, bytes(8)) for k, p in enumerate((TCP, DNS, OTHER))]
    out = io.BytesIO()
    recorder = Recorder(out, 320, payload="dns")
    assert recorder.drain(FakeRing(seen), 0) == 3  # type: ignore[arg-type]
    counts = recorder.counts()
    path = tmp_path / "a.pcap"
    path.write_bytes(out.getvalue())
    batch = next(iter(open_capture([path])))
    assert (counts["packets"], counts["bytes"]) == (3, path.stat().st_size)
    assert batch.ts_ns.tolist() == [packet.ts_ns for packet in seen]
    assert batch.ip_bytes.tolist() == [len(TCP), len(DNS), len(OTHER)]
    assert batch.payload_bytes.tolist() == [6, 30, 30]
    assert batch.ifindex.tolist() == [3, 4, 5]
    assert np.unique(batch.direction).tolist() == [4]
