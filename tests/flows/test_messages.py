"""Rows of fields.parquet become messages of a series: named, placed in windows, copies left out."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd

from mimir.flows.messages import with_messages
from tests.detectors.rival_samples import START, series, tcp

ENTITIES = [
    {
        "ts": 0,
        "event": "added",
        "kind": "pod",
        "namespace": "s",
        "name": "user-0",
        "ip": "10.0.0.1",
        "workload": "user",
    },
    {"ts": 0, "event": "added", "kind": "pod", "namespace": "s", "name": "dns-0", "ip": "10.0.0.2", "workload": "dns"},
    {
        "ts": 0,
        "event": "added",
        "kind": "service",
        "namespace": "s",
        "name": "dns",
        "ip": "10.9.0.1",
        "ports": {"53": 53},
    },
]
COLUMNS = [
    "recording",
    "file",
    "packet",
    "ts",
    "src",
    "dst",
    "proto",
    "sport",
    "dport",
    "stream",
    "complete",
    "dns.qry.name",
]


def row(ts: float, dst: str, name: str, sport: int = 4000, recording: str = "test") -> list[object]:
    return [recording, 1, 1, START + ts, "10.0.0.1", dst, "udp", sport, 53, None, True, name]


def test_messages(tmp_path: Path) -> None:
    (tmp_path / "entities.jsonl").write_text("\n".join(map(json.dumps, ENTITIES)))
    rows = [
        row(61.0, "10.9.0.1", "a.example"),
        row(61.00001, "10.0.0.2", "a.example"),  # the same after translation
        row(65.0, "10.0.0.2", "a.example"),  # asked again
        row(65.00001, "10.0.0.2", "a.example", sport=4001),  # by another socket
        row(3.0, "10.0.0.2", "b.example"),
        row(3.0, "10.0.0.2", "c.example", recording="fit"),
        row(500.0, "10.0.0.2", "d.example"),
    ]
    pd.DataFrame(rows, columns=COLUMNS).to_parquet(tmp_path / "fields.parquet")
    bare = series({tcp("user", "dns", 53): {"dns_queries": [1.0, 3.0]}})
    made = with_messages(bare, tmp_path / "fields.parquet", tmp_path / "entities.jsonl", "test").messages
    assert made is not None
    assert made["dns.qry.name"].tolist() == ["b.example", "a.example", "a.example", "a.example"]
    assert made["window"].tolist() == [0, 1, 1, 1]
    assert set(made["sender"]) == {"user-0"}
    assert set(made["receiver"]) == {"dns-0"}
    assert made["port"].tolist() == [53] * 4


def test_no_message_at_all(tmp_path: Path) -> None:
    (tmp_path / "entities.jsonl").write_text("")
    pd.DataFrame([row(0.0, "10.0.0.2", "b", recording="fit")], columns=COLUMNS).to_parquet(tmp_path / "fields.parquet")
    bare = series({tcp("user", "dns", 53): {"dns_queries": [1.0]}})
    made = with_messages(bare, tmp_path / "fields.parquet", tmp_path / "entities.jsonl", "test").messages
    assert made is not None
    assert made.empty
