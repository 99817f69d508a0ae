"""Make the seed corpus: `python -m tests.fuzz.seeds`. Small captures of our own packing, one for each format, link and tunnel."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

from tests.capture import capture_samples as s

CORPUS = Path(__file__).parent / "corpus"
CONNECTIONS = Path(__file__).parent / "corpus-connections"
PAIR, SIX = ("10.0.0.1", "10.0.0.2"), ("2001:db8::1", "2001:db8::2")
NOW_NS = 1_700_000_000_000_000_000


def packets() -> dict[str, bytes]:
    """IPv4 packets worth wrapping, by name."""
    query = s.ipv4(*PAIR, 17, s.udp(40_000, 53, s.dns("a.example.org")))
    inner = s.ethernet(query)
    return {
        "tcp": s.ipv4(*PAIR, 6, s.tcp(40_000, 80, 1, 0, 0x02, bytes(4))),
        "dns": query,
        "answer": s.ipv4(*PAIR, 17, s.udp(53, 40_000, s.dns("a.example.org", response=True))),
        "icmp": s.ipv4(*PAIR, 1, bytes([8, 0, 0, 0, 0, 1, 0, 1])),
        "vxlan": s.ipv4(*PAIR, 17, s.udp(5, 4789, bytes([8, 0, 0, 0, 0, 0, 7, 0]) + inner)),
        "geneve": s.ipv4(*PAIR, 17, s.udp(5, 6081, bytes([0, 0, 0x65, 0x58, 0, 0, 7, 0]) + inner)),
        "gre": s.ipv4(*PAIR, 47, bytes([0xB0, 0, 0x08, 0, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 1]) + query),
        "erspan": s.ipv4(*PAIR, 47, bytes([0x10, 0, 0x88, 0xBE, 0, 0, 0, 1]) + bytes(8) + inner),
        "ipip": s.ipv4(*PAIR, 4, query),
        "sctp": s.ipv4(*PAIR, 132, bytes([0x0F, 0xA0, 0x0F, 0xA1]) + bytes(12)),
        "ah": s.ipv4(*PAIR, 51, bytes([17, 4]) + bytes(22) + s.udp(1, 2, b"x")),
    }


def seeds() -> Iterator[tuple[str, bytes]]:
    """(name, content) of each seed."""
    plain = packets()
    for name, packet in plain.items():
        yield f"ethernet-{name}.pcap", s.pcap([s.Frame(NOW_NS, s.ethernet(packet))] * 2)
    some = [plain["tcp"], plain["dns"]]
    for order in (False, True):
        for ns in (False, True):
            content = s.pcap([s.Frame(NOW_NS, s.ethernet(p)) for p in some], big=order, ns=ns)
            yield f"pcap-{'big' if order else 'little'}-{'ns' if ns else 'us'}.pcap", content
    yield "modified.pcap", s.pcap([s.Frame(NOW_NS, s.ethernet(p)) for p in some], modified=True)
    yield "sll.pcap", s.pcap([s.Frame(NOW_NS, s.sll(p)) for p in some], 113)
    yield "sll2.pcap", s.pcap([s.Frame(NOW_NS, s.sll2(p)) for p in some], 276)
    yield "raw.pcap", s.pcap([s.Frame(NOW_NS, p) for p in some], 101)
    yield "loopback.pcap", s.pcap([s.Frame(NOW_NS, bytes([2, 0, 0, 0]) + p) for p in some], 0)
    yield "vlan.pcap", s.pcap([s.Frame(NOW_NS, s.ethernet(p, tags=(0x88A8, 0x8100))) for p in some])
    mpls, arp = bytes([0, 1, 1, 64]) + some[0], s.ARP
    yield "mpls-arp.pcap", s.pcap([s.Frame(NOW_NS, s.ethernet(mpls, 0x8847)), s.Frame(NOW_NS, s.ethernet(arp, 0x0806))])
    hops = bytes([44, 0]) + bytes(6) + bytes([17, 0, 0, 1, 0, 0, 0, 9]) + s.udp(1, 53, s.dns("b.example"))
    yield "ipv6.pcap", s.pcap([s.Frame(NOW_NS, s.ethernet(s.ipv6(*SIX, 0, hops), 0x86DD))])
    yield "cut.pcap", s.pcap([s.Frame(NOW_NS, s.ethernet(some[1])[:40], 90)] * 2)[:-3]
    for order in "<>":
        blocks = [s.section(order), s.interface(order=order)]
        blocks += [s.enhanced(s.Frame(NOW_NS, s.ethernet(p)), NOW_NS // 1000, order=order) for p in some]
        yield f"{'little' if order == '<' else 'big'}.pcapng", b"".join(blocks)


def connection_seeds() -> Iterator[tuple[str, bytes]]:
    """(name, content) of each seed for tests.fuzz.connections: legs of a connection, and what comes between packets."""
    syn, syn_ack, ack, data, fin, rst = (flags << 3 for flags in (0x02, 0x12, 0x10, 0x18, 0x11, 0x04))
    there, service, back = 0 | 1 << 3, 0 | 3 << 3, 1 | 0 << 3  # client → pod, client → service, pod → client
    ports, answer = 0 | 3 << 3, 3 | 0 << 3
    talk = [
        (there, ports, syn, 9, 0, 1, 2, 0), (back, answer, syn_ack, 7, 9, 1, 3, 0), (there, ports, ack, 9, 7, 1, 2, 0),
        (there, ports, data, 9, 7, 1, 2, 90), (back, answer, data, 7, 10, 1, 3, 200), (there, ports, fin, 10, 8, 1, 2, 0),
    ]  # fmt: skip
    legs = [leg for p in talk for leg in ((service if p[0] == there else 3, *p[1:6], 4, p[7]), p)]
    datagrams = [(service, 0 | 5 << 3, 4, 0, n, 1 + n % 2, 2 + n % 3, 70 + n) for n in range(12)]
    scan = [(n % 64, n % 64, syn, n, 0, 0, n % 8, 0) for n in range(40)]
    for name, packets in {
        "talk": talk, "legs": legs, "reset": [*talk[:3], (back, answer, rst, 7, 9, 1, 3, 0), *talk], "datagrams": datagrams,
        "scan": scan, "late": [(*p[:5], (-2, 3)[n % 2], *p[6:]) for n, p in enumerate(legs)], "silent": [*talk, (63, 0, 0, 0, 0, 7, 0, 0), *talk],
    }.items():  # fmt: skip
        for knows in (0, 3):
            body = b"".join(struct.pack("<BBBBBbBB", *(value & 255 if n != 5 else value for n, value in enumerate(p))) for p in packets)  # fmt: skip
            yield f"{name}-{knows}", bytes([knows]) + body


if __name__ == "__main__":
    for folder, contents in ((CORPUS, seeds()), (CONNECTIONS, connection_seeds())):
        folder.mkdir(exist_ok=True)
        for seed_name, seed in contents:
            (folder / seed_name).write_bytes(seed)
