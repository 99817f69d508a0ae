"""nfdump's CSV in both forms: records go one way, who asked is worked out."""

from __future__ import annotations

from pathlib import Path

import pytest

from mimir.errors import MimirError
from mimir.flows.foreign import flow_format
from tests.flows.foreign_samples import START_S, addresses, edges, totals

LONG = "ts,te,td,sa,da,sp,dp,pr,flg,fwd,stos,ipkt,ibyt,opkt,obyt,in,out,sas,das"
SHORT = "firstSeen,duration,proto,srcAddr,srcPort,dstAddr,dstPort,packets,bytes,flows"


def long_row(src: str, dst: str, sp: object, dp: object, packets: int, size: int, **changes: object) -> str:
    cell = {"pr": "TCP", "flg": "...AP.SF", "opkt": 0, "obyt": 0, "at": "00:00:00", "td": "1.000", **changes}
    return (
        f"2024-01-01 {cell['at']},2024-01-01 {cell['at']},{cell['td']},{src},{dst},{sp},{dp},{cell['pr']},{cell['flg']},"
        f"0,0,{packets},{size},{cell['opkt']},{cell['obyt']},0,0,0,0"
    )


def write(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def test_both_directions_become_one_edge(tmp_path: Path) -> None:
    there, back = (
        long_row("10.1.0.1", "10.1.0.2", 40_000, 80, 5, 600),
        long_row("10.1.0.2", "10.1.0.1", 80, 40_000, 8, 9320),
    )
    for rows in ((there, back), (back, there)):
        table, _ = edges(tmp_path, write(tmp_path / "a", LONG, *rows, "Summary", "flows,bytes", "2,9920"))
        assert table[["client", "server", "server_port"]].to_numpy().tolist() == [["10.1.0.1", "10.1.0.2", 80]]
        assert table["window_start"].tolist() == [START_S]
        assert totals(table) == {
            "request_bytes": 600, "response_bytes": 9320, "request_packets": 5, "response_packets": 8,
            "request_payload_bytes": 400, "response_payload_bytes": 9000, "connections": 1,
        }  # fmt: skip


def test_the_short_form_says_the_same(tmp_path: Path) -> None:
    rows = [
        "2024-01-01 00:00:00.000,00:00:01.000,TCP,10.1.0.1,40000,10.1.0.2,80,5,600,1",
        "2024-01-01 00:00:00.100,1.000,6,10.1.0.2,80,10.1.0.1,40000,8,9320,1",
    ]
    short, _ = edges(tmp_path, write(tmp_path / "a", SHORT, *rows))
    rows = [
        long_row("10.1.0.1", "10.1.0.2", 40_000, 80, 5, 600),
        long_row("10.1.0.2", "10.1.0.1", 80, 40_000, 8, 9320),
    ]
    assert short.equals(edges(tmp_path, write(tmp_path / "b", LONG, *rows))[0])


def test_bidirectional_records_keep_their_connection(tmp_path: Path) -> None:
    row = long_row("10.1.0.2", "10.1.0.1", 80, 40_000, 8, 9320, opkt=5, obyt=600)
    assert totals(edges(tmp_path, write(tmp_path / "a", LONG, row))[0])["connections"] == 1


def test_a_record_without_a_syn_goes_on_with_an_earlier_connection(tmp_path: Path) -> None:
    ends = ("10.1.0.1", "10.1.0.2", 40_000, 80, 1, 100)
    rows = [long_row(*ends), long_row(*ends, flg="...AP...", at="00:05:00")]
    assert totals(edges(tmp_path, write(tmp_path / "a", LONG, *rows))[0])["connections"] == 1


def test_a_known_listener_decides_before_the_port_range(tmp_path: Path) -> None:
    table = tmp_path / "a.csv"
    table.write_text("address,name,kind,ports\n10.96.0.1,broker,service,61616\n10.1.0.1,web-0,pod,\n")
    row = long_row("10.96.0.1", "10.1.0.1", 61_616, 20_000, 1, 100)
    found, _ = edges(tmp_path, write(tmp_path / "n", LONG, row), entities=table)
    assert found[["client", "server", "response_bytes"]].to_numpy().tolist() == [["web-0", "service:broker", 100]]


def test_where_ports_do_not_say_the_first_sender_asked(tmp_path: Path) -> None:
    rows = [
        long_row("10.1.0.2", "10.1.0.1", 50_000, 51_000, 1, 200, at="00:00:05"),
        long_row("10.1.0.1", "10.1.0.2", 51_000, 50_000, 1, 100),
        long_row("10.1.0.3", "10.1.0.4", 0, "8.0", 1, 84, pr="ICMP", flg="........"),
        long_row("10.1.0.4", "10.1.0.3", 0, "0.0", 1, 84, pr="ICMP", flg="........", at="00:00:01"),
    ]
    table, _ = edges(tmp_path, write(tmp_path / "a", LONG, *rows))
    assert table[["client", "server_port", "request_bytes", "response_bytes"]].to_numpy().tolist() == [
        ["10.1.0.1", 50_000, 100, 200],
        ["10.1.0.3", 0, 84, 84],
    ]


def test_dns_queries_are_packets_to_port_53(tmp_path: Path) -> None:
    rows = [long_row("10.1.0.1", "10.96.0.10", 40_000, 53, 3, 210, pr="UDP", flg="........")]
    assert totals(edges(tmp_path, write(tmp_path / "a", LONG, *rows))[0])["dns_queries"] == 3


def test_bad_records_are_reported(tmp_path: Path) -> None:
    good = long_row("10.1.0.1", "10.1.0.2", 40_000, 80, 5, 600)
    bad = [good.replace(",600,", ",1.2 M,"), good.replace("10.1.0.1", "ten"), "2024-01-01,1", "No matched flows"]
    table, report = edges(tmp_path, write(tmp_path / "a", LONG, good, *bad))
    assert totals(table)["request_bytes"] == 600
    reasons = [(line["line"], line["reason"]) for line in report.to_json()["bad_lines"]]
    assert [number for number, _ in reasons] == [3, 4, 5, 6]
    assert "run nfdump with -N" in reasons[0][1]


def test_a_header_alone_is_an_error(tmp_path: Path) -> None:
    path = write(tmp_path / "a", SHORT)
    assert flow_format(path) == "nfdump"
    with pytest.raises(MimirError, match="it holds no records"):
        edges(tmp_path, path)


def test_names_and_services_apply(tmp_path: Path) -> None:
    names = addresses(tmp_path / "a.csv", ("10.96.0.1", "db", "service", ""), ("10.1.0.2", "db-0", "pod", "db"))
    rows = [long_row("10.1.0.1", server, 40_000, 80, 5, 600) for server in ("10.96.0.1", "10.1.0.2")]
    found, report = edges(tmp_path, write(tmp_path / "n", LONG, *rows), entities=names)
    assert found[["server", "request_bytes", "mediated_bytes"]].to_numpy().tolist() == [["db-0", 600, 600]]
    assert report.to_json()["copies_removed"]["service_address"] == {"flows": 1, "bytes": 600}


def test_a_byte_order_mark_and_windows_line_ends_do_no_harm(tmp_path: Path) -> None:
    path = tmp_path / "a"
    row = "2024-01-01 00:00:00.000,1.000,UDPlite,10.1.0.1,40000,10.1.0.2,80,5,600,1"
    path.write_bytes(f"\ufeff{SHORT}\r\n{row}\r\n".encode())
    assert flow_format(path) == "nfdump"
    assert edges(tmp_path, path)[0]["proto"].tolist() == ["136"]


@pytest.mark.parametrize("opening", ["[\n{\n\t", "{"])
def test_json_of_nfdump_is_named(tmp_path: Path, opening: str) -> None:
    path = tmp_path / "a"
    path.write_text(opening + '"type" : "FLOW", "first" : "2024-01-01T00:00:00.000", "src4_addr" : "10.0.0.1"}')
    with pytest.raises(MimirError, match="nfdump's JSON is not read; write CSV"):
        flow_format(path)
