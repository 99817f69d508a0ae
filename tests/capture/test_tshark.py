"""The bridge to Wireshark's dissectors."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from mimir.capture.tshark import dissect, find_tshark, tshark_fields
from mimir.errors import CaptureError, RequirementError
from tests.capture import capture_samples as s

needs_tshark = pytest.mark.skipif(shutil.which("tshark") is None, reason="tshark is not installed")


@pytest.fixture
def queries(tmp_path: Path) -> Path:
    packets = [s.ipv4("10.0.0.1", "10.0.0.53", 17, s.udp(4000 + i, 53, s.dns(f"h{i}.example"))) for i in range(5)]
    return s.save(
        tmp_path / "x.pcap",
        s.pcap([s.Frame(i, s.ethernet(p)) for i, p in enumerate([*packets, s.web_frames(1)[0].data[14:]])]),
    )


def test_a_missing_tshark_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch, queries: Path) -> None:
    monkeypatch.setenv("PATH", "")
    for call in (
        find_tshark,
        lambda: list(tshark_fields(queries, ["ip.src"])),
        lambda: dissect(queries, "dns", ["ip.src"]),
    ):
        with pytest.raises(RequirementError, match="apt-get install tshark"):
            call()


@needs_tshark
def test_fields_of_a_filtered_subset(queries: Path) -> None:
    rows = list(tshark_fields(queries, ["udp.srcport", "dns.qry.name", "tcp.port"], "dns"))
    assert rows == [(str(4000 + i), f"h{i}.example", "") for i in range(5)]
    both = next(tshark_fields(queries, ["udp.port"], "dns", every_occurrence=True))
    assert both == ("4000,53",)


@needs_tshark
def test_leaving_early_is_no_error(queries: Path) -> None:
    stream = tshark_fields(queries, ["frame.number"])
    assert next(stream) == ("1",)
    stream.close()


@needs_tshark
def test_pyshark_gives_fields_of_layers(queries: Path) -> None:
    rows = dissect(queries, "dns", ["dns.qry.name", "ip.src", "http.host"], limit=2)
    assert rows == [{"dns.qry.name": f"h{i}.example", "ip.src": "10.0.0.1", "http.host": None} for i in range(2)]


@needs_tshark
def test_complaints_of_tshark_reach_the_user(queries: Path, tmp_path: Path) -> None:
    with pytest.raises(CaptureError, match=r"no\.such\.field"):
        list(tshark_fields(queries, ["no.such.field"]))
    with pytest.raises(CaptureError, match="unexpected in this context"):
        dissect(queries, "dns..x", ["ip.src"])
    with pytest.raises(CaptureError, match="standard input; use tshark"):
        dissect(Path("-"), "dns", ["ip.src"])
    with pytest.raises(CaptureError, match="tshark"):
        list(tshark_fields(tmp_path / "missing.pcap", ["ip.src"]))
