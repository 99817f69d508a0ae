"""Hand-packed frames and capture files for tests of capture, flows and graphs."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

ETHERNET, SLL, SLL2, RAW, NULL, LOOP = 1, 113, 276, 101, 0, 108
ARP = b"\x00\x01" + bytes(26)


def ipv4(
    src: str,
    dst: str,
    proto: int,
    body: bytes,
    *,
    wire: int | None = None,
    ident: int = 0,
    place: int = 0,
    options: bytes = b"",
) -> bytes:
    """`wire` bytes of body on the wire, of which `body` is what was captured; `place` is the fragment field."""
    header = 20 + len(options)
    total = header + (len(body) if wire is None else wire)
    head = struct.pack(">BBHHHBBH", 0x40 | header // 4, 0, total & 0xFFFF, ident, place, 64, proto, 0)
    return head + ip_address(src).packed + ip_address(dst).packed + options + body


def ipv6(src: str, dst: str, following: int, body: bytes, *, wire: int | None = None) -> bytes:
    size = len(body) if wire is None else wire
    return struct.pack(">IHBB", 6 << 28, size, following, 64) + ip_address(src).packed + ip_address(dst).packed + body


def tcp(sport: int, dport: int, seq: int = 0, ack: int = 0, flags: int = 0x10, options: bytes = b"") -> bytes:
    offset = (20 + len(options)) // 4 << 4
    return struct.pack(">HHIIBBHHH", sport, dport, seq & 0xFFFFFFFF, ack & 0xFFFFFFFF, offset, flags, 0, 0, 0) + options


def udp(sport: int, dport: int, body: bytes = b"", *, wire: int | None = None) -> bytes:
    return struct.pack(">HHHH", sport, dport, 8 + (len(body) if wire is None else wire), 0) + body


def dns(name: str, *, ident: int = 7, response: bool = False) -> bytes:
    labels = b"".join(bytes([len(x)]) + x.encode() for x in name.split("."))
    return struct.pack(">HHHHHH", ident, 0x8180 if response else 0x0100, 1, 0, 0, 0) + labels + b"\0\0\1\0\1"


def ethernet(body: bytes, ethertype: int = 0x0800, tags: tuple[int, ...] = ()) -> bytes:
    return bytes(12) + b"".join(struct.pack(">HH", t, 5) for t in tags) + struct.pack(">H", ethertype) + body


def sll(body: bytes, ethertype: int = 0x0800, direction: int = 0) -> bytes:
    return struct.pack(">HHH8sH", direction, 1, 6, b"", ethertype) + body


def sll2(body: bytes, ethertype: int = 0x0800, ifindex: int = 1, direction: int = 0) -> bytes:
    return struct.pack(">HHIHBB8s", ethertype, 0, ifindex, 1, direction, 6, b"") + body


@dataclass(frozen=True)
class Frame:
    """A captured frame: time in ns, bytes, and how long it was on the wire (by default: as captured)."""

    ts_ns: int
    data: bytes
    original: int | None = None

    @property
    def wire(self) -> int:
        return len(self.data) if self.original is None else self.original


def pcap(
    frames: list[Frame], linktype: int = ETHERNET, *, big: bool = False, ns: bool = True, modified: bool = False
) -> bytes:
    order = ">" if big else "<"
    magic = 0xA1B2CD34 if modified else 0xA1B23C4D if ns else 0xA1B2C3D4
    unit = 1 if ns and not modified else 1000
    out = [struct.pack(order + "IHHiIII", magic, 2, 4, 0, 0, 262_144, linktype)]
    for f in frames:
        out.append(struct.pack(order + "IIII", f.ts_ns // 10**9, f.ts_ns % 10**9 // unit, len(f.data), f.wire))
        out.append((bytes(8) if modified else b"") + f.data)
    return b"".join(out)


def block(kind: int, body: bytes, order: str = "<") -> bytes:
    body += bytes(-len(body) % 4)
    total = len(body) + 12
    return struct.pack(order + "II", kind, total) + body + struct.pack(order + "I", total)


def option(code: int, value: bytes, order: str = "<") -> bytes:
    return struct.pack(order + "HH", code, len(value)) + value + bytes(-len(value) % 4)


def section(order: str = "<") -> bytes:
    return block(0x0A0D0D0A, struct.pack(order + "IHHq", 0x1A2B3C4D, 1, 0, -1), order)


def interface(
    linktype: int = ETHERNET,
    order: str = "<",
    tsresol: int | None = None,
    offset_s: int | None = None,
    snaplen: int = 0,
) -> bytes:
    options = b"" if tsresol is None else option(9, bytes([tsresol]), order)
    options += b"" if offset_s is None else option(14, struct.pack(order + "q", offset_s), order)
    return block(1, struct.pack(order + "HHI", linktype, 0, snaplen) + options, order)


def enhanced(frame: Frame, stamp: int, which: int = 0, order: str = "<") -> bytes:
    head = struct.pack(order + "IIIII", which, stamp >> 32, stamp & 0xFFFFFFFF, len(frame.data), frame.wire)
    return block(6, head + frame.data + bytes(-len(frame.data) % 4), order)


def save(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def web_frames(count: int = 20, start_ns: int = 1_700_000_000_000_000_000) -> list[Frame]:
    """`count` Ethernet frames of TCP from 10.0.0.1 to 10.0.0.2, 1 ms apart, with growing payloads."""
    packets = (ipv4("10.0.0.1", "10.0.0.2", 6, tcp(40_000, 80, seq=i), wire=20 + i) for i in range(count))
    return [Frame(start_ns + i * 1_000_000, ethernet(p), 54 + i) for i, p in enumerate(packets)]
