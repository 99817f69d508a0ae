"""Make the seed corpus: `python -m tests.fuzz.seeds`. Small captures of our own packing, one for each format, link and tunnel."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from tests.capture import capture_samples as s

CORPUS = Path(__file__).parent / "corpus"
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


if __name__ == "__main__":
    CORPUS.mkdir(exist_ok=True)
    for seed_name, seed in seeds():
        (CORPUS / seed_name).write_bytes(seed)
