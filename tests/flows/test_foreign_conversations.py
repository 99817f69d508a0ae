"""tshark's table of conversations, made up and real."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pandas as pd
import pytest

from mimir.flows.foreign import flow_format
from mimir.flows.records import export_flows
from tests.flows.foreign_samples import addresses, edges, real_captures, totals

CORPUS = Path(os.environ.get("MIMIR_CORPUS", Path(__file__).resolve().parents[2].parent / "shared" / "data"))
HEAD = """================================================================================
IPv4 Conversations
Filter:<No Filter>
                                               |       <-      | |       ->      | |     Total     |    Relative    |   Duration   |
                                               | Frames  Bytes | | Frames  Bytes | | Frames  Bytes |      Start     |              |
"""
NAMES = (
    ("10.96.0.1", "db", "service", ""),
    ("10.1.0.2", "db-0", "pod", "db"),
    ("10.1.0.3", "db-1", "pod", "db"),
    ("10.1.0.9", "web-0", "pod", "web"),
)


def row(a: str, b: str, to_a: int, to_b: int, unit: str = "") -> str:
    return f"{a} <-> {b}  10 {to_a}{unit}  20 {to_b}{unit}  30 {to_a + to_b}{unit}  0.5000  9.0000"


def write(path: Path, *rows: str) -> Path:
    path.write_text(HEAD + "\n".join(rows) + "\n" + "=" * 80 + "\n")
    return path


def test_service_rows_are_the_bytes_of_the_pods_behind(tmp_path: Path) -> None:
    """Whatever the order in which tshark prints the two sides."""
    names = addresses(tmp_path / "a.csv", *NAMES)
    rows = [row("10.1.0.9", "10.96.0.1", 700, 70), row("10.1.0.2", "10.1.0.9", 30, 300), row("10.1.0.9", "10.1.0.3", 400, 40)]  # fmt: skip
    table, report = edges(tmp_path, write(tmp_path / "c", *rows), entities=names)
    assert table[["client", "server", "request_bytes", "response_bytes"]].to_numpy().tolist() == [
        ["web-0", "db-0", 30, 300],
        ["web-0", "db-1", 40, 400],
    ]
    assert totals(table)["mediated_bytes"] == 770
    assert report.to_json()["copies_removed"]["service_address"] == {"flows": 1, "bytes": 770}


def test_what_the_pods_do_not_show_stays_with_the_service(tmp_path: Path) -> None:
    names = addresses(tmp_path / "a.csv", *NAMES)
    rows = [row("10.1.0.9", "10.96.0.1", 700, 70), row("10.1.0.2", "10.1.0.9", 30, 300)]
    table, report = edges(tmp_path, write(tmp_path / "c", *rows), entities=names)
    assert sorted(table[["server", "request_bytes", "response_bytes"]].to_numpy().tolist()) == [
        ["db-0", 30, 300],
        ["service:db", 40, 400],
    ]
    assert report.to_json()["copies_removed"]["service_address"]["bytes"] == 330


def test_rounded_sizes_are_said(tmp_path: Path) -> None:
    path = write(tmp_path / "c", row("10.1.0.9", "10.1.0.2", 7, 8, " kB"), "nonsense here")
    table, report = edges(tmp_path, path)
    assert sum(totals(table)[f"{way}_bytes"] for way in ("request", "response")) == 15_000
    assert report.to_json()["notes"] == {"rounded_sizes": 1}
    assert report.to_json()["skipped_lines"] == {"not a conversation": 1}


@pytest.mark.corpus
@pytest.mark.skipif(not CORPUS.exists(), reason="the corpus is absent (set MIMIR_CORPUS)")
def test_the_prototypes_table_counts_each_byte_once(tmp_path: Path) -> None:
    """Seven database replicas behind 10.105.16.206: the rows of the address repeat those of the pods."""
    path = CORPUS / "prototype" / "wordpress_conversations_10s.txt"
    assert flow_format(path) == "conversations"
    found = re.findall(r"^(\S+)\s+<->\s+(\S+)\s+\d+\s+(\d+)\s+\d+\s+(\d+)\s", path.read_text(), re.MULTILINE)
    address = "10.105.16.206"
    to_service = sum(int(down) for a, _, down, _ in found if a == address)
    from_service = sum(int(up) for a, _, _, up in found if a == address)
    clients = sorted(b for a, b, *_ in found if a == address)
    names = addresses(
        tmp_path / "a.csv",
        (address, "database", "service", ""),
        *((f"172.17.0.{i}", f"database-{i}", "pod", "database") for i in range(8, 15)),
        *((client, f"wordpress-{client.rpartition('.')[2]}", "pod", "wordpress") for client in clients),
    )
    table, report = edges(tmp_path, path, entities=names, view="service")
    (edge,) = table[(table["client"] == "wordpress") & (table["server"] == "database")].to_dict("records")
    assert sorted((edge["request_bytes"], edge["response_bytes"])) == sorted((to_service, from_service))
    assert edge["mediated_bytes"] == to_service + from_service == 29_773_912
    assert report.to_json()["copies_removed"] == {"service_address": {"flows": 11, "bytes": 29_773_912}}
    everything = sum(int(down) + int(up) for *_, down, up in found)
    assert table[["request_bytes", "response_bytes"]].to_numpy().sum() == everything - 29_773_912


@pytest.mark.corpus
@pytest.mark.skipif(not CORPUS.exists(), reason="the corpus is absent (set MIMIR_CORPUS)")
def test_a_listing_of_another_cluster_removes_nothing_it_does_not_know(tmp_path: Path) -> None:
    """The listing kept beside the table is of a later cluster: no service in it has the table's address."""
    folder = CORPUS / "prototype"
    listing = folder / "wordpress_thirteen_t1_svc_config_0.txt"
    table, report = edges(tmp_path, folder / "wordpress_conversations_10s.txt", entities=listing)
    copies = report.to_json()["copies_removed"].get("service_address", {"bytes": 0})
    assert copies["bytes"] == 0
    assert table[["request_bytes", "response_bytes"]].to_numpy().sum() == 87_602_994


def test_tables_with_ports_replace_the_one_of_addresses(tmp_path: Path) -> None:
    text = HEAD.replace("IPv4", "TCP") + row("10.1.0.9:40000", "10.1.0.2:3306", 300, 30) + "\n"
    text += HEAD.replace("IPv4", "UDP") + row("fd00::9:53", "fd00::2:40000", 30, 60) + "\n"
    path = tmp_path / "c"
    path.write_text(text + HEAD + row("10.1.0.9", "10.1.0.2", 300, 30) + "\n")
    table, report = edges(tmp_path, path)
    assert table[["client", "server", "server_port", "proto", "request_bytes", "dns_queries"]].to_numpy().tolist() == [
        ["10.1.0.9", "10.1.0.2", 3306, "tcp", 30, 0],
        ["fd00::2", "fd00::9", 53, "udp", 30, 10],
    ]
    assert report.to_json()["copies_removed"] == {"addresses": {"flows": 1, "bytes": 330}}


@pytest.mark.corpus
@pytest.mark.skipif(not CORPUS.exists(), reason="the corpus is absent (set MIMIR_CORPUS)")
@pytest.mark.slow
@pytest.mark.skipif(shutil.which("tshark") is None, reason="tshark is not installed")
def test_tsharks_tables_of_real_captures_agree_with_our_packets(tmp_path: Path) -> None:
    checked = 0
    for path in real_captures(CORPUS):
        command = ["tshark", "-n", "-q", "-r", str(path), "-z", "conv,tcp", "-z", "conv,udp"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        (tmp_path / "c").write_text(done.stdout)
        if done.returncode or " <-> " not in done.stdout:
            continue
        table, report = edges(tmp_path, tmp_path / "c")
        assert report.to_json()["skipped_lines"] == {}, path
        export_flows([path], None, 1e6, tmp_path / "f.parquet")
        flows = pd.read_parquet(tmp_path / "f.parquet")
        flows = flows[flows["proto"].isin(["tcp", "udp"])]
        theirs = table[["request_packets", "response_packets"]].to_numpy().sum()
        assert flows[["orig_pkts", "resp_pkts"]].to_numpy().sum() <= theirs, path
        ends = {frozenset((c.removeprefix("outside:"), s.removeprefix("outside:"))) for c, s in zip(table["client"], table["server"], strict=True)}  # fmt: skip
        assert ends == {frozenset(pair) for pair in zip(flows["id.orig_h"], flows["id.resp_h"], strict=True)}, path
        checked += 1
    assert checked >= 5
