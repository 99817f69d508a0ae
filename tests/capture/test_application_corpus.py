"""Our own application fields on real captures are those of tshark, or a rule of docs/concepts/captures.md says why not."""

from __future__ import annotations

import csv
import os
import shutil
from collections.abc import Iterable
from pathlib import Path

import pytest

from mimir.capture.application import Dissection, FieldRow, application_fields
from mimir.errors import CaptureError

CORPUS = Path(os.environ.get("MIMIR_CORPUS", Path(__file__).resolve().parents[2].parent / "shared" / "data"))
EXPECTED = CORPUS / "captures" / "expected.csv"
pytestmark = [
    pytest.mark.corpus,
    pytest.mark.slow,
    pytest.mark.skipif(not EXPECTED.exists(), reason="the capture corpus is absent (set MIMIR_CORPUS)"),
    pytest.mark.skipif(shutil.which("tshark") is None, reason="tshark is not installed"),
]
FIELDS = (
    "dns.qry.name", "dns.a", "dns.aaaa", "dns.cname", "tls.handshake.extensions_server_name",
    "tls.handshake.extensions_alpn_str", "http.request.method", "http.request.uri", "http.host", "http.response.code",
)  # fmt: skip
#: file → the rule of the page
WAITING = "segments are missing, and Wireshark waits for them"
EXPLAINED = {
    "arkime_synthetic.pcap": "QUIC; Geneve inside a cut packet",
    "http-wrapped-header.pcap": "a start line over two segments",
    "LINKTYPE_IPV6_invalid.pcap": "IPv4 behind the link type of IPv6",
    **dict.fromkeys(
        ("http-tcp-seq-issue.pcap", "decapsulate_erspan1.pcap", "client-ip.pcap", "istio-tcp-frag.pcap",
         "accecn_handshake.pcap", "no-syn-ack.pcap", "twovlan.pcap"), WAITING),
}  # fmt: skip


def values(rows: Iterable[FieldRow]) -> set[tuple[object, ...]]:
    """Who told whom what. Copies and packet numbers do not count: Wireshark waits for the last segment of a body."""
    return {
        (row.src, row.dst, row.sport, row.dport, name, value)
        for row in rows
        for name, value in zip(FIELDS, row.values, strict=True)
        if value is not None
    }


def test_own_fields_are_those_of_tshark() -> None:
    differing, compared = {}, 0
    with EXPECTED.open(encoding="utf-8", newline="") as table:
        files = [row["file"] for row in csv.DictReader(table) if row["capinfos_rc"] == "0"]
    for file in files:
        try:
            ours = values(application_fields([CORPUS / file], Dissection("own", FIELDS)))
        except CaptureError:
            continue
        if not ours:
            continue
        compared += 1
        theirs = values(application_fields([CORPUS / file], Dissection("tshark", FIELDS)))
        if ours != theirs:
            differing[Path(file).name] = (sorted(map(str, ours - theirs))[:4], sorted(map(str, theirs - ours))[:4])
    assert {name: found for name, found in differing.items() if name not in EXPLAINED} == {}
    assert differing.keys() == EXPLAINED.keys()
    assert compared - len(differing) >= 50
