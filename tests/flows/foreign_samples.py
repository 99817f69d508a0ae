"""Flow files written for tests, and what edges come out of them."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from mimir.flows.edges import COUNTERS
from mimir.flows.foreign import build_flow_edges
from mimir.flows.foreign.build import FlowReport

START_S = 1_704_067_200
ZEEK_FIELDS = (
    "ts", "uid", "id.orig_h", "id.orig_p", "id.resp_h", "id.resp_p", "proto", "duration", "orig_bytes", "resp_bytes",
    "orig_pkts", "orig_ip_bytes", "resp_pkts", "resp_ip_bytes", "tunnel_parents",
)  # fmt: skip


def zeek_values(**changes: Any) -> dict[str, Any]:
    """One connection: 10.1.0.1 asks 10.1.0.2:80 for 10 s."""
    return {
        "ts": START_S, "uid": "C1", "id.orig_h": "10.1.0.1", "id.orig_p": 40_000, "id.resp_h": "10.1.0.2",
        "id.resp_p": 80, "proto": "tcp", "duration": 10.0, "orig_bytes": 400, "resp_bytes": 9000, "orig_pkts": 5,
        "orig_ip_bytes": 600, "resp_pkts": 8, "resp_ip_bytes": 9320, "tunnel_parents": "-", **changes,
    }  # fmt: skip


def zeek_tsv(path: Path, *records: dict[str, Any], extra: Sequence[str] = ()) -> Path:
    """A conn.log of connections, `extra` lines at its end."""
    names = "\t".join(ZEEK_FIELDS)
    rows = ["\t".join(str(record[name]) for name in ZEEK_FIELDS) for record in records]
    head = ["#separator \\x09", "#unset_field\t-", "#path\tconn", f"#fields\t{names}", "#types\ttime\tstring"]
    path.write_text("\n".join([*head, *rows, *extra, "#close\t2024-01-01-00-00-00"]) + "\n", encoding="utf-8")
    return path


def edges(
    tmp_path: Path, *files: Path, entities: Path | None = None, windows_s: Sequence[int] = (10,), view: str = "pod"
) -> tuple[pd.DataFrame, FlowReport]:
    """Edge rows of one view (of the shortest window unless one is given) and the report."""
    report = build_flow_edges(files, entities, windows_s, "test", tmp_path / "edges.parquet")
    table = pd.read_parquet(tmp_path / "edges.parquet")
    return table[table["view"] == view].reset_index(drop=True), report


def totals(table: pd.DataFrame) -> dict[str, int]:
    """Sum of every counter that is not 0."""
    return {name: int(table[name].sum()) for name in COUNTERS if table[name].sum()}


def addresses(path: Path, *rows: tuple[str, str, str, str]) -> Path:
    """A table of (address, name, kind, workload)."""
    path.write_text("address,name,kind,workload\n" + "".join(",".join(row) + "\n" for row in rows), encoding="utf-8")
    return path


def real_captures(corpus: Path) -> list[Path]:
    """Some captures of whole TCP and UDP packets without tunnels."""
    with (corpus / "captures" / "expected.csv").open(encoding="utf-8", newline="") as rows:
        fit = [
            corpus / row["file"]
            for row in csv.DictReader(rows)
            if row["linktype"] == "1" and row["trunc"] == row["frag"] == row["invalid"] == row["vlan"] == "0"
            and 20 < int(row["tcp"]) + int(row["udp"]) == int(row["ip4"]) < 2000
        ]  # fmt: skip
    return fit[:: max(len(fit) // 15, 1)]
