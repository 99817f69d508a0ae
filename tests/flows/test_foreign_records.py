"""flows.parquet: each connection once, its bytes those of the edges, its ID that of Wireshark."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq
import pytest

from mimir.capture import open_capture
from mimir.flows import build_edges, load_identity
from mimir.flows.__main__ import main
from mimir.flows.community_id import community_id
from mimir.flows.foreign import build_flow_edges
from mimir.flows.records import SCHEMA, FlowRecorder, export_flows
from tests.capture import capture_samples as s
from tests.flows.flow_samples import (
    CLIENT,
    ENTITIES,
    POD,
    START_NS,
    conversation,
    datagrams,
    directly,
    edges_of,
    http,
    through_service,
)  # fmt: skip
from tests.flows.foreign_samples import real_captures

CORPUS = Path(os.environ.get("MIMIR_CORPUS", Path(__file__).resolve().parents[2].parent / "shared" / "data"))
PAIRS = {
    "orig_bytes": "request_payload_bytes", "resp_bytes": "response_payload_bytes", "orig_pkts": "request_packets",
    "resp_pkts": "response_packets", "orig_ip_bytes": "request_bytes", "resp_ip_bytes": "response_bytes",
    "exchanges": "exchanges",
}  # fmt: skip


def totals(flows: pd.DataFrame, edges: Path) -> tuple[dict[str, int], dict[str, int]]:
    """The same sums from both files."""
    table = pd.read_parquet(edges)
    pods = table[(table["view"] == "pod") & (table["window_s"] == table["window_s"].min())]
    return (
        {name: int(flows[name].sum()) for name in PAIRS},
        {name: int(pods[counter].sum()) for name, counter in PAIRS.items()},
    )


def test_a_connection_is_one_row_under_zeeks_names(tmp_path: Path) -> None:
    talk = conversation(through_service(), http([(300, 5000), (200, 7000)]))
    lookups = datagrams(directly(("10.244.1.5", 41_000), ("10.96.0.9", 53)), [(True, b"x" * 30), (False, b"y" * 60)])
    result = edges_of(tmp_path, talk, lookups, entities=ENTITIES)
    out = tmp_path / "flows.parquet"
    assert export_flows([tmp_path / "x.pcap"], tmp_path / "entities.jsonl", 300.0, out).flows == 2
    assert pq.read_schema(out) == SCHEMA
    flows = pd.read_parquet(out)
    web = flows[flows["proto"] == "tcp"].to_dict("records")[0]
    assert (web["id.orig_h"], web["id.orig_p"], web["id.resp_h"], web["id.resp_p"]) == (*CLIENT, *POD)
    assert (web["orig_service"], web["resp_pod"], web["mediated"]) == ("web", "user-7f-xyz12", True)
    assert (web["orig_bytes"], web["resp_bytes"], web["exchanges"]) == (500, 12_000, 2)
    assert web["community_id"] == community_id(CLIENT[0], POD[0], 6, CLIENT[1], POD[1])
    assert web["ts"].value == START_NS + 100_000 + 5_000
    ours, theirs = totals(flows, result.path)
    assert ours == theirs
    assert not flows[flows["proto"] == "udp"]["mediated"].any()


def test_a_connection_over_many_windows_and_settlings_stays_one_row(tmp_path: Path) -> None:
    """The second half comes long after the first was settled; another client reuses nothing of it."""
    steps = http([(100, 1000)] * 3, close=False) + http([(50, 500)])[3:]
    steps = [step if number != 6 else type(step)(step.from_client, step.payload, step.flags, gap_ns=90 * 10**9)
             for number, step in enumerate(steps)]  # fmt: skip
    result = edges_of(tmp_path, conversation(directly(), steps), entities=[])
    for settle_often in (False, True):
        flows = recorded(tmp_path / "x.pcap", settle_often)
        assert len(flows) == 1
        assert int(flows["request_payload"][0]) == 350
        assert int(flows["last_ns"][0] - flows["first_ns"][0]) > 90 * 10**9
    assert result.total() == int(flows["request_bytes"][0] + flows["response_bytes"][0])


def recorded(path: Path, settle_often: bool) -> Any:
    recorder = FlowRecorder(load_identity(None), 300.0)
    for batch in open_capture([path]):
        for at in range(0, len(batch), 3 if settle_often else len(batch)):
            recorder.add(batch.take(slice(at, at + (3 if settle_often else len(batch)))))
            if settle_often:
                recorder._settle(everything=False)
    recorder.finish()
    return recorder.flows()


def test_an_active_time_out_cuts_long_connections_and_loses_nothing(tmp_path: Path) -> None:
    steps = [replace(step, gap_ns=4 * 10**9) for step in http([(100, 1000)] * 3)]
    edges_of(tmp_path, conversation(directly(), steps), entities=[])
    whole, cut = tmp_path / "whole.parquet", tmp_path / "cut.parquet"
    assert export_flows([tmp_path / "x.pcap"], None, 300.0, whole).flows == 1
    assert main(["export", str(tmp_path / "x.pcap"), "--active-s", "10", "--out", str(cut), "--timeout-s", "300"]) == 0
    parts, one = pd.read_parquet(cut), pd.read_parquet(whole).iloc[0]
    assert len(parts) > 3
    assert [int(parts[name].sum()) for name in PAIRS] == [int(one[name]) for name in PAIRS]
    assert parts["ts"].iloc[0] == one["ts"]
    assert parts["ts"].iloc[1:].dt.second.isin(range(0, 60, 10)).all()
    assert (parts["duration"] < 10).all()
    assert parts["community_id"].nunique() == 1
    assert pq.read_schema(cut).metadata == {b"idle_timeout_s": b"300", b"active_timeout_s": b"10"}
    assert pq.read_schema(whole).metadata == {b"idle_timeout_s": b"300", b"active_timeout_s": b"0"}


def test_icmp_has_type_and_code_for_ports_and_an_id(tmp_path: Path) -> None:
    """The published values of the Community ID specification (baseline), from packets."""
    ends, back = ("192.168.0.89", "192.168.0.1"), ("192.168.0.1", "192.168.0.89")
    packets = [(ends, 8, 0), (back, 0, 0), (ends, 20, 0), (ends, 20, 1)]
    frames = [
        s.Frame(START_NS + n, s.ethernet(s.ipv4(*pair, 1, bytes([kind, code]) + bytes(6))))
        for n, (pair, kind, code) in enumerate(packets)
    ]
    export_flows([s.save(tmp_path / "x.pcap", s.pcap(frames, s.ETHERNET))], None, 300.0, tmp_path / "f.parquet")
    found = pd.read_parquet(tmp_path / "f.parquet")
    assert list(zip(found["id.orig_p"], found["id.resp_p"], found["orig_pkts"], found["resp_pkts"], strict=True)) == [
        (8, 0, 1, 1), (20, 0, 1, 0), (20, 1, 1, 0),
    ]  # fmt: skip
    assert found["community_id"].tolist() == [
        "1:X0snYXpgwiv9TZtqg64sgzUn6Dk=", "1:3o2RFccXzUgjl7zDpqmY7yJi8rI=", "1:tz/fHIDUHs19NkixVVoOZywde+I=",
    ]  # fmt: skip


def test_the_command_writes_and_refuses(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    edges_of(tmp_path, conversation(directly(), http()))
    out = tmp_path / "deep" / "flows.parquet"
    assert main(["export", str(tmp_path / "x.pcap"), "--out", str(out)]) == 0
    assert out.exists()
    assert "1 flows" in capsys.readouterr().out
    (tmp_path / "y.pcap").write_text("no capture")
    assert main(["export", str(tmp_path / "y.pcap"), "--out", str(tmp_path / "no.parquet")]) == 2
    assert "y.pcap" in capsys.readouterr().err
    assert not (tmp_path / "no.parquet").exists()


@pytest.mark.corpus
@pytest.mark.skipif(not CORPUS.exists(), reason="the corpus is absent (set MIMIR_CORPUS)")
@pytest.mark.slow
@pytest.mark.skipif(shutil.which("tshark") is None, reason="tshark is not installed")
def test_ids_of_real_flows_are_those_of_wireshark(tmp_path: Path) -> None:
    checked = 0
    for path in real_captures(CORPUS):
        command = [
            "tshark",
            "-n",
            "-r",
            str(path),
            "--enable-protocol",
            "communityid",
            "-T",
            "fields",
            "-e",
            "communityid",
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        theirs = {line for line in done.stdout.splitlines() if line and "," not in line}
        export_flows([path], None, 1e6, tmp_path / "f.parquet")
        ours = set(pd.read_parquet(tmp_path / "f.parquet")["community_id"].dropna())
        assert ours == theirs, path
        build_edges([path], None, [86_400], "test", 1e6, tmp_path / "e.parquet")
        flows, edges = totals(pd.read_parquet(tmp_path / "f.parquet"), tmp_path / "e.parquet")
        assert flows == edges, path
        checked += len(ours)
    assert checked >= 40


def test_exported_flows_read_back_give_the_same_edges(tmp_path: Path) -> None:
    """packets → flows.parquet → conn.log → edges: who, where and how many bytes stay the same."""
    talks = [
        conversation(through_service(), http([(300, 5000)] * 3)),
        conversation(directly(("10.244.1.6", 40_001), ("10.244.2.9", 3306)), http(), isn=(5, 6)),
        conversation(directly(("10.244.1.6", 40_002), ("203.0.113.50", 443)), http(close=False), isn=(7, 8)),
    ]
    direct = edges_of(tmp_path, *talks, entities=ENTITIES)
    export_flows([tmp_path / "x.pcap"], tmp_path / "entities.jsonl", 300.0, tmp_path / "f.parquet")
    flows = pd.read_parquet(tmp_path / "f.parquet")
    flows["ts"] = flows["ts"].astype("int64") / 1e9
    (tmp_path / "conn.log").write_text(flows.to_json(orient="records", lines=True, double_precision=9))
    build_flow_edges([tmp_path / "conn.log"], tmp_path / "entities.jsonl", [60], "test", tmp_path / "g.parquet")
    again = pd.read_parquet(tmp_path / "g.parquet")
    for view in ("pod", "service"):
        chosen = again[again["view"] == view].set_index(["client", "server", "server_port", "proto"])
        expected = direct.edges(view)
        assert set(chosen.index) == set(expected)
        for key, counters in expected.items():
            for name in ("request_bytes", "response_bytes", "request_payload_bytes", "response_packets", "connections"):
                assert chosen.loc[key, name] == counters[name], (key, name)
