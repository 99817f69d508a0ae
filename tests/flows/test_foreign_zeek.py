"""Zeek's conn.log, tab-separated and as JSON lines."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from mimir.errors import MimirError
from mimir.flows.edges import COUNTERS
from mimir.flows.foreign import flow_format, flow_span
from tests.flows.foreign_samples import START_S, addresses, edges, totals, zeek_tsv, zeek_values


def test_a_connection_becomes_an_edge(tmp_path: Path) -> None:
    table, report = edges(tmp_path, zeek_tsv(tmp_path / "a", zeek_values(duration=1.0)))
    (row,) = table.to_dict("records")
    assert (row["client"], row["server"], row["server_port"], row["proto"]) == ("10.1.0.1", "10.1.0.2", 80, "tcp")
    assert row["window_start"] == START_S
    assert [row[name] for name in COUNTERS] == [600, 9320, 400, 9000, 5, 8, 1, 1, 0, 0, 0]
    assert report.to_json()["flows"] == 1


def test_bytes_are_spread_in_proportion_to_time_and_add_up(tmp_path: Path) -> None:
    path = zeek_tsv(tmp_path / "a", zeek_values(ts=START_S + 5, duration=40.0, orig_ip_bytes=1001))
    table, _ = edges(tmp_path, path, windows_s=(10, 60))
    fine, coarse = table[table["window_s"] == 10], table[table["window_s"] == 60]
    assert fine["window_start"].tolist() == [START_S + 10 * i for i in range(5)]
    assert fine["request_bytes"].tolist() == [125, 250, 251, 250, 125]
    assert fine["connections"].tolist() == [1, 0, 0, 0, 0]
    assert totals(fine) == totals(coarse)
    assert coarse["request_bytes"].tolist() == [1001]


def test_an_end_on_a_border_takes_nothing_from_the_next_window(tmp_path: Path) -> None:
    table, _ = edges(tmp_path, zeek_tsv(tmp_path / "a", zeek_values()))
    assert table["window_start"].tolist() == [START_S]


def test_json_lines_say_the_same(tmp_path: Path) -> None:
    records = [zeek_values(), zeek_values(uid="C2", **{"id.resp_h": "203.0.113.5", "id.resp_p": 443})]
    tsv, _ = edges(tmp_path, zeek_tsv(tmp_path / "a", *records))
    plain = tmp_path / "b.json"
    flat = [{k: v for k, v in record.items() if v != "-"} for record in records]
    plain.write_text("".join(json.dumps(record) + "\n" for record in flat))
    nested = tmp_path / "c.json"
    flat[0]["ts"] = "2024-01-01T00:00:00.000000Z"
    flat[1]["id"] = {key: flat[1].pop(f"id.{key}") for key in ("orig_h", "orig_p", "resp_h", "resp_p")}
    nested.write_text("".join(json.dumps(record) + "\n" for record in flat))
    for path in (plain, nested):
        assert edges(tmp_path, path)[0].equals(tsv)


def test_columns_are_found_by_name_and_gzip_is_read(tmp_path: Path) -> None:
    path = tmp_path / "conn.log.gz"
    text = (
        "#separator \\x2c\n#fields,proto,id.resp_p,id.resp_h,id.orig_p,id.orig_h,ts\nudp,53,10.0.0.2,4000,10.0.0.1,5\n"
    )
    path.write_bytes(gzip.compress(text.encode()))
    table, report = edges(tmp_path, path)
    assert table[["client", "proto", "server_port"]].to_numpy().tolist() == [["10.0.0.1", "udp", 53]]
    assert report.to_json()["notes"] == {"sizes_from_payload": 2, "still_open": 1}


def test_bad_lines_are_reported_with_their_number(tmp_path: Path) -> None:
    bad = ["too\tshort", "\t".join(["x"] * 15), '{"ts": 1}', "{", ""]
    path = zeek_tsv(tmp_path / "a", zeek_values(), zeek_values(**{"id.orig_h": "nobody"}), extra=bad)
    table, report = edges(tmp_path, path)
    assert totals(table)["connections"] == 1
    found = report.to_json()
    assert [line["line"] for line in found["bad_lines"]] == [7, 8, 9, 10, 11]
    assert "nobody" in found["bad_lines"][0]["reason"]
    assert sum(found["skipped_lines"].values()) == 5


def test_nothing_usable_is_an_error_that_names_the_first_line(tmp_path: Path) -> None:
    with pytest.raises(MimirError, match="line 6: wrong number of columns"):
        edges(tmp_path, zeek_tsv(tmp_path / "a", extra=["only", "rubbish"]))
    (tmp_path / "dns").write_text("#separator \\x09\n#fields\tts\tuid\tquery\n1\t2\t3\n")
    with pytest.raises(MimirError, match="line 2: header without"):
        edges(tmp_path, tmp_path / "dns")


def test_tunnels_are_not_counted_beside_their_contents(tmp_path: Path) -> None:
    outer = zeek_values(uid="Outer", proto="udp", **{"id.resp_p": 4789})
    table, report = edges(tmp_path, zeek_tsv(tmp_path / "a", outer, zeek_values(tunnel_parents="Outer")))
    assert table["server_port"].tolist() == [80]
    assert report.to_json()["copies_removed"] == {"tunnel": {"flows": 1, "bytes": 9920}}


def test_types_of_icmp_are_no_ports(tmp_path: Path) -> None:
    ping = zeek_values(proto="icmp", **{"id.orig_p": 8, "id.resp_p": 0})
    six = zeek_values(
        proto="icmp", **{"id.orig_h": "fd00::1", "id.orig_p": 128, "id.resp_h": "fd00::2", "id.resp_p": 129}
    )
    table, _ = edges(tmp_path, zeek_tsv(tmp_path / "a", ping, six))
    assert sorted(zip(table["server_port"], table["proto"], strict=True)) == [(0, "icmp"), (0, "icmp6")]


def test_names_come_from_the_entities_at_the_time_of_the_flow(tmp_path: Path) -> None:
    log = tmp_path / "entities.jsonl"
    rows = [(0, "added", "early-0"), (START_S + 1000, "deleted", "early-0"), (START_S + 1000, "added", "late-0")]
    log.write_text(
        "".join(
            json.dumps({"ts": ts, "event": event, "kind": "pod", "name": name, "ip": "10.1.0.1", "workload": name[:-2]})
            + "\n"
            for ts, event, name in rows
        )
    )
    path = zeek_tsv(tmp_path / "a", zeek_values(), zeek_values(ts=START_S + 2000))
    assert edges(tmp_path, path, entities=log)[0]["client"].tolist() == ["early-0", "late-0"]
    assert edges(tmp_path, path, entities=log, view="service")[0]["client"].tolist() == ["early", "late"]


def test_both_legs_of_a_service_count_once(tmp_path: Path) -> None:
    table = addresses(tmp_path / "a.csv", ("10.96.0.1", "db", "service", ""), ("10.1.0.2", "db-0", "pod", "db"))
    before, after = zeek_values(**{"id.resp_h": "10.96.0.1"}), zeek_values(ts=START_S + 0.001)
    alone = zeek_values(**{"id.resp_h": "10.96.0.1", "id.orig_p": 41_000})
    found, report = edges(tmp_path, zeek_tsv(tmp_path / "c", before, after, alone), entities=table)
    by_server = found.groupby("server")[["request_bytes", "mediated_bytes"]].sum()
    assert by_server.loc["db-0"].tolist() == [600, 9920]
    assert by_server.loc["service:db"].tolist() == [600, 9920]
    assert report.to_json()["copies_removed"] == {"service_address": {"flows": 1, "bytes": 9920}}


def test_format_and_span_are_found_by_content(tmp_path: Path) -> None:
    path = zeek_tsv(tmp_path / "looks-like.pcap", zeek_values(), zeek_values(ts=START_S + 100, duration=50.5))
    assert flow_format(path) == "zeek"
    assert flow_span([path]) == (START_S, START_S + 150.5, 2, 26)
    other = tmp_path / "notes.txt"
    other.write_text("nothing of the kind\n")
    assert flow_format(other) is None
    assert flow_span([other]) is None
    with pytest.raises(MimirError, match=r"notes\.txt: holds no flow records"):
        flow_span([path, other])


def test_sensors_on_two_nodes_count_a_connection_once(tmp_path: Path) -> None:
    both, again = zeek_values(), zeek_values(ts=START_S + 100, uid="C2")
    one = zeek_tsv(tmp_path / "n1.log", both, again)
    other = zeek_tsv(
        tmp_path / "n2.log",
        zeek_values(ts=START_S + 500, **{"id.orig_h": "10.9.9.9"}),
        zeek_values(ts=START_S + 0.02, uid="D1"),
    )
    table, report = edges(tmp_path, one, other)
    assert totals(table)["connections"] == 3
    assert report.to_json()["copies_removed"] == {"sensor": {"flows": 1, "bytes": 9920}}


def test_a_tuple_used_again_at_once_in_one_file_is_two_connections(tmp_path: Path) -> None:
    path = zeek_tsv(tmp_path / "a", zeek_values(), zeek_values(ts=START_S + 0.5, uid="C2"))
    assert totals(edges(tmp_path, path)[0])["connections"] == 2


def test_no_connection_is_a_tunnel_of_its_own_and_a_circle_of_tunnels_leaves_nothing(tmp_path: Path) -> None:
    own = zeek_tsv(tmp_path / "a", zeek_values(tunnel_parents="C1"))
    assert totals(edges(tmp_path, own)[0])["connections"] == 1
    circle = zeek_tsv(tmp_path / "b", zeek_values(tunnel_parents="C2"), zeek_values(uid="C2", tunnel_parents="C1"))
    assert len(edges(tmp_path, circle)[0]) == 0
    with pytest.raises(MimirError, match="every flow is a repetition"):
        flow_span([circle])


def test_rows_of_other_logs_are_no_connections(tmp_path: Path) -> None:
    path = zeek_tsv(tmp_path / "a", zeek_values(duration=1.0))
    other = path.read_text().replace("#path\tconn", "#path\tdns")
    path.write_text(path.read_text() + other)
    table, report = edges(tmp_path, path)
    assert (totals(table)["connections"], report.to_json()["skipped_lines"]) == (
        1,
        {"a row of dns.log, which is no connection": 1},
    )
    records = [{k: v for k, v in zeek_values(duration=1.0, _path=name).items() if v != "-"} for name in ("conn", "dns")]
    lines = tmp_path / "b"
    lines.write_text("".join(json.dumps(record) + "\n" for record in records))
    assert edges(tmp_path, lines)[0].equals(table)
    for text in (other, json.dumps(records[1])):
        lines.write_text(text)
        with pytest.raises(
            MimirError, match=r"no line of it can be used; line \d+: a row of dns.log, which is no conn"
        ):
            edges(tmp_path, lines)


def test_a_file_may_say_what_stands_for_no_value(tmp_path: Path) -> None:
    usual = zeek_tsv(tmp_path / "a", zeek_values(uid="C1"), zeek_values(uid="C2", orig_bytes="-", duration="-"))
    text = usual.read_text().replace("#unset_field\t-", "#unset_field\tNULL\n#empty_field\tNONE")
    other = tmp_path / "b"
    other.write_text(
        text.replace("\t-", "\tNULL").replace("\tNULL\n", "\tNONE\n", 1).replace("d\tNONE\n", "d\tNULL\n", 1)
    )
    assert "C2\t" in other.read_text()
    assert edges(tmp_path, other)[0].equals(edges(tmp_path, usual)[0])


def test_underscores_in_names_of_json_fields(tmp_path: Path) -> None:
    record = {key.replace("id.", "id_"): value for key, value in zeek_values(duration=1.0).items() if value != "-"}
    path = tmp_path / "a"
    path.write_text(json.dumps(record))
    assert flow_format(path) == "zeek"
    assert edges(tmp_path, path)[0].equals(edges(tmp_path, zeek_tsv(tmp_path / "b", zeek_values(duration=1.0)))[0])


def test_a_record_of_months_is_refused_and_so_are_too_many_long_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = zeek_tsv(tmp_path / "a", zeek_values(), zeek_values(duration=3.1e7))
    table, report = edges(tmp_path, path, windows_s=(10, 60))
    assert (len(table), report.to_json()["skipped_lines"]) == (2, {"unusable value": 1})
    assert "not between 0 and a week" in report.to_json()["bad_lines"][0]["reason"]
    monkeypatch.setattr("mimir.flows.foreign.spread.MAX_PAIRS", 100)
    for seconds, fits in ((500, True), (510, False)):
        zeek_tsv(path, *[zeek_values(duration=seconds, uid=f"C{n}") for n in range(2)])
        if fits:
            assert len(edges(tmp_path, path)[0]) == 50
        else:
            with pytest.raises(MimirError, match="2 flows last for 102 windows of 10 s together, more than 100"):
                edges(tmp_path, path)
