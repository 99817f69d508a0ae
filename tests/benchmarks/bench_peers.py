"""Other tools that turn captures into something like edges, and the work nearest to ours that each of them does."""

from __future__ import annotations

import shutil
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from tests.benchmarks.bench_head import ETHERNET, linktype

WINDOW_S = 60
FIELDS = ("frame.time_epoch", "ip.src", "ip.dst", "tcp.srcport", "tcp.dstport", "ip.len", "tcp.flags")
Edge = tuple[Any, ...]


@dataclass(frozen=True)
class Peer:
    """`command` is a program with {capture} and {folder}; without one, the work is a function of PYTHON_WORK."""

    name: str
    work: str  #: what it does, in words
    packets: int  #: first packets of the capture that it gets: a second or two of work
    needs: str  #: program or importable module
    install: str
    command: tuple[str, ...] = ()
    ethernet: bool = False  #: it cannot read LINUX_SLL2 and gets the same packets behind an Ethernet header

    def missing(self) -> bool:
        """Whether it is absent here."""
        return (shutil.which(self.needs) if self.command else find_spec(self.needs)) is None

    def argv(self, capture: Path, folder: Path) -> list[str]:
        """The command on one capture."""
        return [part.format(capture=capture, folder=folder) for part in self.command]


EXTRA = ".venv/bin/pip install -e '.[bench]'"
TSHARK = ("tshark", "-n", "-r", "{capture}")
PEERS = (
    Peer("pyshark", "dissect, iterate (XML)", 300, "pyshark", EXTRA),
    Peer("pyshark use_ek", "dissect, iterate (JSON)", 1_000, "pyshark", EXTRA),
    Peer("scapy PcapReader", "dissect, add up edges", 6_000, "scapy", EXTRA),
    Peer("scapy RawPcapReader", "own parsing, add up edges", 150_000, "scapy", EXTRA),
    Peer("dpkt", "dissect, add up edges", 60_000, "dpkt", EXTRA),
    Peer("NFStream", "flows with nDPI (default)", 150_000, "nfstream", EXTRA, ethernet=True),
    Peer("NFStream n_dissections=0", "flows only", 150_000, "nfstream", EXTRA, ethernet=True),
    Peer("tshark -T fields", "7 fields as text", 50_000, "tshark", "apt install tshark",
         (*TSHARK, "-T", "fields", *(part for field in FIELDS for part in ("-e", field)))),
    Peer("tshark -q -z conv,ip", "conversations, one window", 100_000, "tshark", "apt install tshark",
         (*TSHARK, "-q", "-z", "conv,ip")),
    Peer("tcpdump -n", "a line a packet", 600_000, "tcpdump", "apt install tcpdump",
         ("tcpdump", "-n", "-r", "{capture}")),
    Peer("nfpcapd", "flow records", 1_000_000, "nfpcapd", "apt install nfdump",
         ("nfpcapd", "-r", "{capture}", "-w", "{folder}"), ethernet=True),
    Peer("cat", "nothing: the page cache", 1_000_000_000, "cat", "", ("cat", "{capture}")),
)  # fmt: skip


def total(packets: Iterable[tuple[Edge, int, int]]) -> int:
    """Add up (edge, packets, bytes) by edge; returns the packets."""
    edges: dict[Edge, list[int]] = defaultdict(lambda: [0, 0])
    for edge, count, size in packets:
        known = edges[edge]
        known[0] += count
        known[1] += size
    return sum(count for count, _ in edges.values())


def by_dpkt() -> Callable[[Path], int]:
    """dpkt's own dissection of SLL2 or Ethernet, IP, TCP and UDP."""
    import dpkt

    def packets(path: Path) -> Iterable[tuple[Edge, int, int]]:
        with path.open("rb") as file:
            reader = dpkt.pcap.Reader(file)
            link = dpkt.ethernet.Ethernet if reader.datalink() == ETHERNET else dpkt.sll2.SLL2
            for ts, frame in reader:
                ip = link(frame).data
                if isinstance(ip, dpkt.ip.IP):
                    port = getattr(ip.data, "dport", 0)
                    yield (ts // WINDOW_S, ip.src, ip.dst, port, ip.p), 1, ip.len

    return lambda path: total(packets(path))


def by_scapy() -> Callable[[Path], int]:
    """scapy's full dissection."""
    from scapy.layers import l2  # noqa: F401  registers the link type
    from scapy.layers.inet import IP
    from scapy.utils import PcapReader

    def packets(path: Path) -> Iterable[tuple[Edge, int, int]]:
        with PcapReader(str(path)) as reader:
            for packet in reader:
                if IP in packet:
                    ip = packet[IP]
                    yield (
                        (float(packet.time) // WINDOW_S, ip.src, ip.dst, getattr(ip.payload, "dport", 0), ip.proto),
                        1,
                        ip.len,
                    )

    return lambda path: total(packets(path))


def by_raw_scapy() -> Callable[[Path], int]:
    """scapy reads records, `struct` does the rest: IPv4 without options behind SLL2 or Ethernet."""
    import struct

    from scapy.utils import RawPcapReader

    unpack = struct.Struct(">2xH5xB2x4s4s2xH").unpack_from

    def packets(path: Path) -> Iterable[tuple[Edge, int, int]]:
        kind, start = (12, 14) if linktype(path) == ETHERNET else (0, 20)
        with RawPcapReader(str(path)) as reader:
            for frame, record in reader:
                if frame[kind : kind + 2] == b"\x08\x00" and len(frame) >= start + 24:
                    size, proto, src, dst, port = unpack(frame, start)
                    yield (record.sec // WINDOW_S, src, dst, port, proto), 1, size

    return lambda path: total(packets(path))


def by_nfstream(dissections: int) -> Callable[[Path], int]:
    """NFStream's flows, added up; a flow counts in the window in which it began."""
    from nfstream import NFStreamer

    def flows(path: Path) -> Iterable[tuple[Edge, int, int]]:
        for f in NFStreamer(source=str(path), n_dissections=dissections, statistical_analysis=False, accounting_mode=1):
            window = f.bidirectional_first_seen_ms // (1000 * WINDOW_S)
            edge = (window, f.src_ip, f.dst_ip, f.dst_port, f.protocol)
            yield edge, f.bidirectional_packets, f.bidirectional_bytes

    return lambda path: total(flows(path))


def by_pyshark(use_ek: bool) -> Callable[[Path], int]:
    """pyshark's packets, added up."""
    import pyshark

    def packets(path: Path) -> Iterable[tuple[Edge, int, int]]:
        capture = pyshark.FileCapture(str(path), keep_packets=False, use_ek=use_ek, custom_parameters=["-n"])
        try:
            for packet in capture:
                if hasattr(packet, "ip"):
                    window = packet.sniff_time.timestamp() // WINDOW_S
                    yield (
                        (window, str(packet.ip.src), str(packet.ip.dst), packet.transport_layer),
                        1,
                        int(packet.ip.len),
                    )
        finally:
            capture.close()

    return lambda path: total(packets(path))


#: name of the peer → what imports it and gives the work, so that imports are not timed
PYTHON_WORK: dict[str, Callable[[], Callable[[Path], int]]] = {
    "pyshark": lambda: by_pyshark(False),
    "pyshark use_ek": lambda: by_pyshark(True),
    "scapy PcapReader": by_scapy,
    "scapy RawPcapReader": by_raw_scapy,
    "dpkt": by_dpkt,
    "NFStream": lambda: by_nfstream(20),
    "NFStream n_dissections=0": lambda: by_nfstream(0),
}
