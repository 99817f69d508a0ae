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
#: files with a rule of the page each; tests/capture/test_application_rules.py shows the rules on small captures
OTHER_RULES = ("arkime_synthetic.pcap", "http-wrapped-header.pcap", "LINKTYPE_IPV6_invalid.pcap")
BODY, ALONE, SORTED = "http.desegment_body:FALSE", "tcp.desegment_tcp_streams:FALSE", "tcp.reassemble_out_of_order:TRUE"
#: file → settings of Wireshark under which the difference goes away: what it waited for
WAITING = {
    **dict.fromkeys(("accecn_handshake.pcap", "no-syn-ack.pcap", "twovlan.pcap"), (BODY,)),
    **dict.fromkeys(("client-ip.pcap", "istio-tcp-frag.pcap"), (ALONE,)),
    **dict.fromkeys(("http-tcp-seq-issue.pcap", "decapsulate_erspan1.pcap"), (SORTED, BODY)),
}
EXPLAINED = {*OTHER_RULES, *WAITING}


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
    assert differing.keys() == EXPLAINED
    assert compared - len(differing) >= 50


def both(name: str) -> tuple[set[tuple[object, ...]], set[tuple[object, ...]]]:
    """Values that only our own parsers give, and those that only tshark gives, of the file of that name."""
    (path,) = (CORPUS / "captures").rglob(name)
    ours, theirs = (values(application_fields([path], Dissection(who, FIELDS))) for who in ("own", "tshark"))
    return ours - theirs, theirs - ours


@pytest.mark.parametrize("name", WAITING)
def test_what_wireshark_waits_for_is_all_that_differs(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WIRESHARK_CONFIG_DIR", str(tmp_path))
    ours, theirs = both(name)
    assert ours and not theirs  # noqa: PT018
    (tmp_path / "preferences").write_text("".join(f"{setting.replace(':', ': ')}\n" for setting in WAITING[name]))
    assert both(name) == (set(), set())


def test_the_other_files_differ_by_just_what_their_rule_says() -> None:
    quic, geneve = ("10.99.99.10", "10.99.99.20", 10_000, 443), ("10.111.111.20", "10.111.111.10", 53, 5353)
    assert both("arkime_synthetic.pcap") == (set(), {
        (*quic, "tls.handshake.extensions_alpn_str", "h3"),
        (*quic, "tls.handshake.extensions_server_name", "config.edge.skype.com"),
        (*geneve, "dns.qry.name", "example.com"), (*geneve, "dns.a", "93.184.216.34"),  # 6081 is its source port
    })  # fmt: skip
    ours, theirs = both("http-wrapped-header.pcap")
    assert (ours, {row[4] for row in theirs}) == (set(), {"http.request.method", "http.request.uri", "http.host"})
    assert both("LINKTYPE_IPV6_invalid.pcap") == (
        {("192.168.1.100", "9.9.9.9", 12345, 53, "dns.qry.name", "example.com")}, set())  # fmt: skip
