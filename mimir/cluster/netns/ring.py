"""An AF_PACKET receive ring (TPACKET_V3) on all interfaces of a namespace: packet(7), Documentation/networking/packet_mmap."""

from __future__ import annotations

import ctypes
import mmap
import select
import socket
import struct
from collections.abc import Iterator
from typing import NamedTuple

_SOL_PACKET, _ADD_RX_RING, _STATISTICS, _VERSION = 263, 5, 6, 10
_V3, _ETH_P_ALL = 2, 3
_SO_ATTACH_FILTER = 26
_BLOCK_BYTES, _FRAME_BYTES, _RETIRE_MS = 1 << 18, 1 << 11, 50
_BLOCK = struct.Struct("=IIIII")  # version, offset of private data, status, packets, offset of the first
_HEAD = struct.Struct("=IIIIIIHH")  # next, s, ns, captured, length, status, mac, net
_FROM = struct.Struct(
    "=HHiHBB8s"
)  # sockaddr_ll: family, protocol (network order), ifindex, hatype, pkttype, halen, address
_FROM_AT = 48  # of sockaddr_ll in a slot: the header of 48 bytes, aligned
_USER = 1


class Captured(NamedTuple):
    """One packet: time (ns), length above the link layer, its first bytes, and where it was seen."""

    ts_ns: int
    length: int
    data: bytes
    ifindex: int
    hatype: int
    pkttype: int
    address: bytes


class Ring:
    """Receives every IPv4 packet of the namespace it is made in, up to `snaplen` bytes of each."""

    def __init__(self, snaplen: int, room_bytes: int):
        self.socket = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, 0)
        _only_ipv4(self.socket, snaplen)
        self.socket.setsockopt(_SOL_PACKET, _VERSION, _V3)
        self._blocks = max(4, room_bytes // _BLOCK_BYTES)
        request = struct.pack(
            "=7I",
            _BLOCK_BYTES,
            self._blocks,
            _FRAME_BYTES,
            self._blocks * (_BLOCK_BYTES // _FRAME_BYTES),
            _RETIRE_MS,
            0,
            0,
        )
        self.socket.setsockopt(_SOL_PACKET, _ADD_RX_RING, request)
        self._memory = mmap.mmap(self.socket.fileno(), self._blocks * _BLOCK_BYTES)
        self._poll = select.poll()
        self._poll.register(self.socket.fileno(), select.POLLIN | select.POLLERR)
        self._next = 0
        _bind_everywhere(self.socket)  # from here on packets come

    def take(self, wait_ms: int) -> Iterator[Captured]:
        """Packets of one block, after waiting at most `wait_ms` for it; nothing when none is ready."""
        base = self._next * _BLOCK_BYTES
        if not self._ready(base):
            self._poll.poll(wait_ms)
            if not self._ready(base):
                return
        _, _, _, count, first = _BLOCK.unpack_from(self._memory, base)
        at = base + first
        for _ in range(count):
            ahead, seconds, nanoseconds, captured, length, _, _, net = _HEAD.unpack_from(self._memory, at)
            _, _, ifindex, hatype, pkttype, _, address = _FROM.unpack_from(self._memory, at + _FROM_AT)
            data = self._memory[at + net : at + net + captured]
            yield Captured(seconds * 1_000_000_000 + nanoseconds, length, data, ifindex, hatype, pkttype, address)
            at += ahead
        struct.pack_into("=I", self._memory, base + 8, 0)  # back to the kernel
        self._next = (self._next + 1) % self._blocks

    def drops(self) -> int:
        """Packets the kernel had no room for since the last call."""
        _, dropped, _ = struct.unpack("=III", self.socket.getsockopt(_SOL_PACKET, _STATISTICS, 12))
        return int(dropped)

    def close(self) -> None:
        """Let the ring go."""
        self._memory.close()
        self.socket.close()

    def _ready(self, base: int) -> bool:
        return bool(_BLOCK.unpack_from(self._memory, base)[2] & _USER)


def _only_ipv4(receiver: socket.socket, snaplen: int) -> None:
    """Attach a classic BPF program: accept `snaplen` bytes of IPv4, nothing of anything else."""
    program = [
        (0x28, 0, 0, 0xFFFFF000),  # load the protocol (SKF_AD_OFF + SKF_AD_PROTOCOL)
        (0x15, 0, 1, 0x0800),  # IPv4?
        (0x06, 0, 0, snaplen),
        (0x06, 0, 0, 0),
    ]
    code = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *line) for line in program))
    fprog = struct.pack("HL", len(program), ctypes.addressof(code))
    receiver.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, fprog)


def _bind_everywhere(receiver: socket.socket) -> None:
    """Bind to every protocol on every interface, which `socket.bind` has no way to say."""
    address = _FROM.pack(socket.AF_PACKET, socket.htons(_ETH_P_ALL), 0, 0, 0, 0, bytes(8))
    if ctypes.CDLL(None, use_errno=True).bind(receiver.fileno(), address, len(address)) != 0:
        raise OSError(ctypes.get_errno(), "the packet socket cannot be bound")
