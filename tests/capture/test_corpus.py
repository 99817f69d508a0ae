"""1,211 real captures: what Wireshark says of each is what the reader says."""

from __future__ import annotations

import csv
import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from functools import cache
from pathlib import Path

import pandas as pd
import pytest

from mimir.capture import CaptureCounts, open_capture
from mimir.capture.tshark import tshark_fields
from mimir.errors import CaptureError

CORPUS = Path(os.environ.get("MIMIR_CORPUS", Path(__file__).resolve().parents[2].parent / "shared" / "data"))
EXPECTED = CORPUS / "captures" / "expected.csv"
pytestmark = [
    pytest.mark.corpus,
    pytest.mark.skipif(not EXPECTED.exists(), reason="the capture corpus is absent (set MIMIR_CORPUS)"),
]
#: files Wireshark rejects for a link type it does not know: they are captures, so they are read and counted by type
UNKNOWN_TO_WIRESHARK = re.compile(r"network type \d+ unknown or unsupported")
#: µs beyond 10^6 and times beyond 2^31: Wireshark 4.0 prints these differently in start and duration
ODD_TIMES = {
    "timestamp_invalid_micro.pcap", "timestamp_invalid_nano.pcap", "bgp_vpn_rt-oobr.pcap", "olsr-oobr-2.pcap",
    "pim_header_asan-2.pcap", "rx_serviceid_oobr.pcap", "atm-oam-loopback-print-overrun.pcap",
}  # fmt: skip


@cache
def expected() -> list[dict[str, str]]:
    with EXPECTED.open(encoding="utf-8", newline="") as rows:
        return list(csv.DictReader(rows))


@cache
def found(overlays: bool = False) -> dict[str, CaptureCounts | CaptureError]:
    """Every file read once; anything but a CaptureError fails the tests."""
    out: dict[str, CaptureCounts | CaptureError] = {}
    for row in expected():
        capture = open_capture(CORPUS / row["file"], overlays=overlays)
        try:
            rows = sum(len(batch) for batch in capture)
        except CaptureError as error:
            out[row["file"]] = error
            continue
        counts = capture.counts
        assert counts.rows == rows
        assert counts.bytes == counts.row_bytes + sum(s.bytes for s in counts.skipped.values()), row["file"]
        out[row["file"]] = counts
    return out


def test_no_file_crashes_the_reader() -> None:
    assert len(found()) == len(found(overlays=True)) == len(expected()) == 1211


def test_rejected_files_give_one_clear_error() -> None:
    rejected = [r for r in expected() if r["capinfos_rc"] != "0"]
    assert len(rejected) == 21
    for row in rejected:
        result = found()[row["file"]]
        if UNKNOWN_TO_WIRESHARK.search(row["capinfos_err"]):
            assert isinstance(result, CaptureCounts), row["file"]
            assert result.skipped["unsupported link type"].packets == result.packets > 0
        else:
            assert isinstance(result, CaptureError), row["file"]
            assert "\n" not in str(result)


def test_packets_first_time_and_duration() -> None:
    wrong, checked = [], 0
    for row in expected():
        result = found()[row["file"]]
        if row["capinfos_rc"] != "0" or not isinstance(result, CaptureCounts):
            continue
        checked += 1
        if result.packets != int(float(row["packets"])):
            wrong.append((row["file"], "packets", result.packets, row["packets"]))
        if result.first_ns is None or Path(row["file"]).name in ODD_TIMES:
            continue
        first = pd.Timestamp(result.first_ns).strftime("%Y-%m-%d %H:%M:%S.%f")
        if not row["start"].startswith(first) or abs(float(row["duration"]) - result.duration_s) > 2e-6:
            wrong.append((row["file"], "time", first, row["start"], result.duration_s, row["duration"]))
    assert wrong == []
    assert checked == 1190


def test_overlays_change_identities_only() -> None:
    for file, plain in found().items():
        opened = found(overlays=True)[file]
        if isinstance(plain, CaptureCounts) and isinstance(opened, CaptureCounts):
            for name in ("packets", "rows", "bytes", "row_bytes", "skipped"):
                assert getattr(opened, name) == getattr(plain, name), (file, name)


#: files where tcpdump's text and the headers taken off differ, and by how much (ours minus theirs)
EXPLAINED = {
    "arkime_synthetic.pcap": {"vxlan": -2, "geneve": -1},  # empty and cut packets
    "vxlan.pcap": {"vxlan": -2},  # ARP inside
    "vxlan-nsh.pcap": {"vxlan": -1},  # NSH, not Ethernet inside
    "nsh-over-vxlan-gpe.pcap": {"vxlan": -1},
    "bgp-encap.pcap": {"vxlan": -1},  # the word in a BGP attribute
    "vxlan_port_8472.pcap": {"vxlan": 8},  # printed as OTV
    "erspan-type-iii-pb-1.pcap": {"gre": 1},  # the table has no line of this packet
    "decapsulate_test.pcap": {"vxlan": 1},  # another port of VXLAN inside GRE
}
#: tcpdump 4.99.3 does not look into these: total length 0, or an IPv6 header outside
UNPRINTED = re.compile(r"(bigtcp-ipv[46]|gso-ipv6)-(vxlan|geneve)-ipv[46]\.pcap")


def test_overlays_are_those_of_the_table() -> None:
    wrong, seen = [], 0
    for row in expected():
        counts, name = found(overlays=True)[row["file"]], Path(row["file"]).name
        if row["capinfos_rc"] != "0" or not isinstance(counts, CaptureCounts):
            continue
        wanted = {kind: int(row[kind] or 0) for kind in ("vxlan", "geneve", "gre")}
        ours = Counter(counts.overlays) + Counter({"gre": counts.protocols.get("gre", 0)})
        seen += sum(counts.overlays.values())
        unprinted = UNPRINTED.fullmatch(name)
        if unprinted:
            wanted[unprinted[2]] = 1
        for kind, number in wanted.items():
            if ours[kind] - number != EXPLAINED.get(name, {}).get(kind, 0):
                wrong.append((name, kind, ours[kind], number))
    assert wrong == []
    assert seen > 1300


CODED = ("ip4", "ip6", "arp", "tcp", "udp", "icmp", "sctp")
LINKS = {"EN10MB", "LINUX_SLL", "LINUX_SLL2"}


def compared() -> list[tuple[dict[str, str], CaptureCounts]]:
    """Ethernet, SLL and SLL2 files that Wireshark accepts."""
    pairs = [(row, found()[row["file"]]) for row in expected() if row["capinfos_rc"] == "0"]
    return [(row, c) for row, c in pairs if isinstance(c, CaptureCounts) and not set(c.link_types) - LINKS]


def ours(counts: CaptureCounts) -> Counter[str]:
    out = Counter(counts.protocols)
    out["icmp"] += out["icmp6"]
    return out


def differing() -> list[tuple[dict[str, str], CaptureCounts]]:
    names = (*CODED, "dns53")
    return [(row, c) for row, c in compared() if any(ours(c)[name] != int(row[name]) for name in names)]


def test_protocol_counts() -> None:
    """Nine of ten files agree with the table in every count. The table counts lines of tcpdump: headers inside tunnels
    and ICMP errors as well, packets cut short or behind IPv6 extension headers not. The next test asks Wireshark."""
    assert len(compared()) > 850
    assert len(differing()) < 0.1 * len(compared())


def outer(stack: list[str]) -> set[str]:
    """Protocols up to the first transport, tunnel or inner network header: what one row says."""
    names: set[str] = set()
    for name in stack:
        if name in ("macsec", "nsh", "avsp", "cmd") or (name in ("ip", "ipv6", "eth") and names & {"ip", "ipv6"}):
            break
        names.add(name)
        if name in ("tcp", "udp", "icmp", "icmpv6", "sctp", "gre", "pim", "igmp", "esp", "ipcomp"):
            break
    return names


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("tshark") is None, reason="tshark is not installed")
def test_where_the_table_differs_wireshark_agrees() -> None:
    wrong = []
    for row, counts in differing():
        stacks = [fields[0].split(":") for fields in tshark_fields(CORPUS / row["file"], ["frame.protocols"])]
        theirs = Counter(name for stack in stacks for name in outer(stack))
        theirs["icmp"] += theirs["icmpv6"]
        names = CODED if row["frag"] == "0" else ("ip4", "ip6", "arp")
        for name in names:
            if ours(counts)[name] != theirs[{"ip4": "ip", "ip6": "ipv6"}.get(name, name)]:
                wrong.append((Path(row["file"]).name, name, ours(counts)[name]))
    assert wrong == []


WHOLE = """
import re, sys
from pathlib import Path
from mimir.capture import open_capture
from mimir.errors import CaptureError
from mimir.flows.connections import ConnectionTracker
from mimir.flows.identity import Identity
read = refused = 0
for name in sys.stdin.read().splitlines():
    tracker = ConnectionTracker(Identity(), 10, 120.0)
    try:
        for batch in open_capture(Path(name)):
            tracker.add(batch)
        read += 1
    except CaptureError:
        refused += 1
    tracker.finish()
# not ru_maxrss, which begins at the size of the process that started this one
print(read, refused, re.search(r"VmHWM:\\s*(\\d+)", Path("/proc/self/status").read_text())[1])
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux's /proc")
def test_the_whole_set_in_one_process_stays_below_300_mb() -> None:
    """Reader and connections; kernels come from the cache, as in every run but the first (compiling them takes more)."""
    names = "\n".join(str(CORPUS / row["file"]) for row in expected())
    for _ in range(2):
        done = subprocess.run([sys.executable, "-c", WHOLE], input=names, capture_output=True, text=True, check=True)
    read, refused, peak_kib = map(int, done.stdout.split())
    assert (read + refused, refused) == (1211, sum(isinstance(r, CaptureError) for r in found().values()))
    assert peak_kib * 1024 < 300_000_000


def test_inspect_leaves_with_2_on_what_it_cannot_read() -> None:
    refused = [row["file"] for row in expected() if isinstance(found()[row["file"]], CaptureError)]
    for name in refused[:: len(refused) // 3]:
        command = [sys.executable, "-m", "mimir.capture", "inspect", str(CORPUS / name)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout) == (2, "")
        assert Path(name).name in done.stderr
        assert done.stderr.count("\n") == 1
