"""Flow records of real captures, conversation by conversation and direction by direction, against `tshark -z conv`.

Every difference has one of the rules of docs/concepts/captures.md, "Beside Wireshark"; those that cannot be derived from
what the reader counted are named file by file.
"""

from __future__ import annotations

import csv
import os
import re
import shutil
import subprocess
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

import pytest

from mimir.capture import CaptureCounts, open_capture
from mimir.flows.addresses import address_text
from mimir.flows.identity import Identity
from mimir.flows.records import FlowRecorder, records_of

CORPUS = Path(os.environ.get("MIMIR_CORPUS", Path(__file__).resolve().parents[2].parent / "shared" / "data"))
EXPECTED = CORPUS / "captures" / "expected.csv"
pytestmark = [
    pytest.mark.corpus,
    pytest.mark.skipif(not EXPECTED.exists(), reason="the capture corpus is absent (set MIMIR_CORPUS)"),
    pytest.mark.skipif(shutil.which("tshark") is None, reason="tshark is not installed"),
]
#: sender, its port, receiver, its port, protocol
Tuple5 = tuple[str, int, str, int, str]
END = r"(\S+):(\d+)"
SUMS = r"(\d+) (\d+) (bytes|kB|MB)"
CONVERSATION = re.compile(rf"{END}\s+<->\s+{END}\s+{SUMS}\s+{SUMS}")
UNITS = {"bytes": 1, "kB": 1000, "MB": 1_000_000}

#: rules that only a look into the packets can tell, with the files they apply to
RULES = {
    "tunnels that are not opened (GTP, PPP in GRE, WCCP, NSH, PIM register, OpenFlow, MACsec, ERSPAN III, VXLAN on other ports)": {
        "6-4-gre-ppp-udp-4-dns.pcap", "arkime_synthetic.pcap", "gre-erspan-vxlan.pcap", "gtp-iphone.pcap", "ipv6-gtp6.pcap",
        "nsh-over-vxlan-gpe.pcap", "nsh.pcap", "of13_ericsson.pcapng", "pim-packet-assortment.pcap", "wccp_redirect_gre.pcap",
        "macsec-short-longer.pcap", "macsec-short-shorter.pcap", "macsec-short-valid.pcap",
    },
    "compressed payload (IPComp), which Wireshark inflates": {"AH-IPcomp-IPv4.pcap", "AH-IPcomp-IPv6.pcap"},
    "IPv6 routing headers: Wireshark shows the last destination, we the next": {
        "ipv6-routing-header.pcap", "ipv6-srh-insert-cksum.pcap",
    },
    "two legs of one connection around an address translation": {"tfo-5c1fa7f9ae91.pcap"},
    "more than 32 IPv6 extension headers": {"ipv6_ext_headers.pcap"},
    "lengths beyond 64 KiB (segmentation offload without a length), which Wireshark 4.0 calls malformed": {
        "bigtcp-ipv4-geneve-ipv4.pcap", "bigtcp-ipv4-geneve-ipv6.pcap", "bigtcp-ipv4-vxlan-ipv4.pcap",
        "bigtcp-ipv4-vxlan-ipv6.pcap", "bigtcp-ipv6-geneve-ipv4.pcap", "bigtcp-ipv6-geneve-ipv6.pcap",
        "bigtcp-ipv6-vxlan-ipv4.pcap", "bigtcp-ipv6-vxlan-ipv6.pcap", "bigtcp-ipv6.pcap",
    },
    "headers that are malformed or not captured whole: counted here, not in a conversation there": {
        "LINKTYPE_IPV6_invalid.pcap", "babel_update_oobr.pcap", "beep-oobr.pcap", "heapoverflow-tcp_print.pcap",
        "ip_printroute_asan.pcap", "isakmp-various-oobr.pcap", "mptcp-dss-oobr.pcap", "tcp-auth-heapoverflow.pcap",
        "tcp_header_heapoverflow.pcap", "udp-length-heapoverflow.pcap",
    },
}  # fmt: skip


def wireshark(path: Path) -> dict[Tuple5, tuple[int, int, int]]:
    """Direction of a conversation → frames, bytes, and how much rounding hides; several of one tuple are added up."""
    command = ["tshark", "-n", "-q", "-r", str(path), "-o", "ip.defragment:FALSE", "-o", "ipv6.defragment:FALSE",
               "-z", "conv,tcp", "-z", "conv,udp"]  # fmt: skip
    text = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    out: dict[Tuple5, tuple[int, int, int]] = {}
    proto = ""
    for line in text.splitlines():
        if line.endswith(" Conversations"):
            proto = line.split()[0].lower()
        if m := CONVERSATION.match(line):
            one, two = (m[1], int(m[2])), (m[3], int(m[4]))
            for source, target, found in ((two, one, m.groups()[4:7]), (one, two, m.groups()[7:10])):
                if int(found[0]):
                    frames, size, slack = out.get((*source, *target, proto), (0, 0, 0))
                    unit = UNITS[found[2]]
                    sums = frames + int(found[0]), size + int(found[1]) * unit, slack + (unit if unit > 1 else 0)
                    out[*source, *target, proto] = sums
    return out


class Ours:
    """Flow records of one capture as Wireshark counts: frames and frame bytes each way."""

    def __init__(self, path: Path):
        around: dict[Tuple5, int] = defaultdict(int)  # what frames have beyond the IP packet
        recorder, capture = FlowRecorder(Identity(), 1e9), open_capture(path)
        for batch in capture:
            recorder.add(batch)
            for row in zip(
                batch.src.tolist(), batch.sport.tolist(), batch.dst.tolist(), batch.dport.tolist(), batch.proto.tolist(),
                batch.frame_bytes.tolist(), batch.ip_bytes.tolist(), strict=True,
            ):  # fmt: skip
                name = {6: "tcp", 17: "udp"}.get(row[4], "")
                around[address_text(tuple(row[0])), row[1], address_text(tuple(row[2])), row[3], name] += (
                    row[5] - row[6]
                )
        recorder.finish()
        self.counts: CaptureCounts = capture.counts
        self.outer: set[frozenset[str]] = set()
        self.sums: dict[Tuple5, tuple[int, int]] = defaultdict(lambda: (0, 0))
        for flow in records_of(recorder.flows(), Identity(), capture.tunnels).to_pylist():
            if flow["tunnel_type"]:
                self.outer.add(frozenset((flow["tunnel_orig_h"], flow["tunnel_resp_h"])))
            orig, resp = (flow["id.orig_h"], flow["id.orig_p"]), (flow["id.resp_h"], flow["id.resp_p"])
            if flow["proto"] in ("tcp", "udp"):
                self._add((*orig, *resp, flow["proto"]), flow["orig_pkts"], flow["orig_ip_bytes"])
                self._add((*resp, *orig, flow["proto"]), flow["resp_pkts"], flow["resp_ip_bytes"])
        for key, (frames, size) in self.sums.items():
            self.sums[key] = frames, size + around[key]

    def _add(self, key: Tuple5, frames: int, size: int) -> None:
        if frames:
            self.sums[key] = self.sums[key][0] + frames, self.sums[key][1] + size


def differences(path: Path) -> dict[Tuple5, tuple[tuple[int, int, int], tuple[int, int]]]:
    """Directions of conversations in which frames or bytes differ and no rule that the counts show says why."""
    theirs, ours = wireshark(path), Ours(path)
    out = {}
    for key in theirs.keys() | ours.sums.keys():
        frames, size, slack = theirs.get(key, (0, 0, 0))
        found = ours.sums.get(key, (0, 0))
        if frames == found[0] and abs(size - found[1]) <= slack:
            continue
        if not found[0] and frozenset((key[0], key[2])) in ours.outer:
            continue  # the outer packets of an overlay: their pair is in our records, their bytes are those inside
        if not found[0] and set(ours.counts.skipped) & {"unsupported link type"}:
            continue  # counted as left out under its link type
        pieces = ours.counts.fragments
        if frames and pieces and frames <= found[0] <= frames + pieces and found[1] >= size - slack:
            continue  # later fragments are packets of the conversation here, of none there
        out[key] = (frames, size, slack), found
    return out


def test_a_real_translation_without_interface_index_is_counted_once() -> None:
    """A masqueraded connection recorded on both sides of the router, Ethernet only; numbered alike in both directions."""
    recorder = FlowRecorder(Identity(), 300.0)
    for batch in open_capture(CORPUS / "captures" / "tcpdump" / "tests" / "tfo-5c1fa7f9ae91.pcap"):
        recorder.add(batch)
    recorder.finish()
    assert recorder.copies()["masquerade"]["packets"] == recorder.proofs()["sequence_numbers"]["packets"] == 6
    assert recorder.flows()["request_packets"].tolist() == [4, 2]


NAMED = {name for files in RULES.values() for name in files}


@cache
def rows() -> list[dict[str, str]]:
    """Captures that Wireshark reads and that have TCP or UDP, or a rule."""
    with EXPECTED.open(encoding="utf-8", newline="") as table:
        readable = [row for row in csv.DictReader(table) if row["capinfos_rc"] == "0"]
    return [r for r in readable if int(r["tcp"] or 0) + int(r["udp"] or 0) or Path(r["file"]).name in NAMED]


def compared(chosen: list[dict[str, str]]) -> dict[str, bool]:
    """File → do all its conversations agree?"""
    with ThreadPoolExecutor(2) as pool:
        found = pool.map(lambda row: differences(CORPUS / row["file"]), chosen)
    return {row["file"]: not differing for row, differing in zip(chosen, found, strict=True)}


def test_flows_of_a_sample_are_the_conversations_of_wireshark() -> None:
    sample = [row for row in rows() if Path(row["file"]).name not in NAMED and int(row["tcp"] or 0) < 3000][::25]
    assert len(sample) > 20
    assert [file for file, agrees in compared(sample).items() if not agrees] == []


@pytest.mark.slow
def test_flows_of_all_captures_are_the_conversations_of_wireshark() -> None:
    result = compared(rows())
    differing = {Path(file).name for file, agrees in result.items() if not agrees}
    assert sorted(differing - NAMED) == []
    assert sorted(NAMED - differing) == [], "rules that no file needs"
    assert len(result) > 600
    assert sum(result.values()) > 600
