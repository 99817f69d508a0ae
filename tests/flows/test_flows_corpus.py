"""Real captures: Wireshark's conversations, and the prototype's table that shows double counting."""

from __future__ import annotations

import csv
import os
import re
import shutil
import subprocess
from collections import defaultdict
from pathlib import Path

import pandas as pd
import pytest

from mimir.capture import open_capture
from mimir.capture.batch import ACK, FROM_US, PSH
from mimir.flows import build_edges
from tests.flows.flow_samples import START_S, Leg, Step, conversation, edges_of, pod, service

CORPUS = Path(os.environ.get("MIMIR_CORPUS", Path(__file__).resolve().parents[2].parent / "shared" / "data"))
pytestmark = [
    pytest.mark.corpus,
    pytest.mark.skipif(not CORPUS.exists(), reason="the corpus is absent (set MIMIR_CORPUS)"),
]
CONVERSATION = re.compile(
    r"^([\d.]+):\S+\s+<->\s+([\d.]+):\S+\s+\d+ \d+ (?:bytes|kB|MB)\s+\d+ \d+ (?:bytes|kB|MB)\s+(\d+) (\d+) (bytes|kB|MB)"
)
UNITS = {"bytes": 1, "kB": 1000, "MB": 1_000_000}


def wireshark(path: Path) -> dict[frozenset[str], tuple[int, int, int]]:
    """Pair of addresses → frames, bytes and how much rounding hides, as `tshark -z conv,tcp` adds them up."""
    command = ["tshark", "-n", "-q", "-r", str(path), "-z", "conv,tcp"]
    out: dict[frozenset[str], tuple[int, int, int]] = {}
    for found in map(
        CONVERSATION.match, subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    ):
        if found:
            pair, unit = frozenset((found[1], found[2])), UNITS[found[5]]
            frames, size, slack = out.get(pair, (0, 0, 0))
            out[pair] = (frames + int(found[3]), size + int(found[4]) * unit, slack + (unit if unit > 1 else 0))
    return out


def some_captures() -> list[Path]:
    """A dozen Ethernet captures of whole TCP packets, spread over the corpus."""
    with (CORPUS / "captures" / "expected.csv").open(encoding="utf-8", newline="") as rows:
        fit = [
            CORPUS / row["file"]
            for row in csv.DictReader(rows)
            if row["linktype"] == "1" and row["trunc"] == row["frag"] == row["invalid"] == "0"
            and 20 < int(row["tcp"]) == int(row["ip4"]) < 2000
        ]  # fmt: skip
    return fit[:: len(fit) // 12]


@pytest.mark.skipif(shutil.which("tshark") is None, reason="tshark is not installed")
def test_bytes_equal_wireshark_conversations(tmp_path: Path) -> None:
    checked = 0
    for path in some_captures():
        overhead: dict[frozenset[str], int] = defaultdict(int)
        (batch,) = open_capture(path)
        build_edges([path], None, [60], "test", 10**9, tmp_path / "e.parquet")
        table = pd.read_parquet(tmp_path / "e.parquet")
        table = table[(table["view"] == "pod") & (table["proto"] == "tcp")]
        for side in ("client", "server"):
            table[side] = table[side].str.removeprefix("outside:")
        for src, dst, proto, frame, ip in zip(
            batch.src[:, 1], batch.dst[:, 1], batch.proto, batch.frame_bytes, batch.ip_bytes, strict=True
        ):
            if proto == 6:
                overhead[frozenset(_text(int(a)) for a in (src, dst))] += int(frame) - int(ip)
        ours: dict[frozenset[str], list[int]] = defaultdict(lambda: [0, 0])
        for row in table.itertuples():
            pair = ours[frozenset((row.client, row.server))]
            pair[0] += row.request_packets + row.response_packets
            pair[1] += row.request_bytes + row.response_bytes
        theirs = wireshark(path)
        assert {k: v[0] for k, v in ours.items()} == {k: v[0] for k, v in theirs.items()}, path
        for pair, (_, size, slack) in theirs.items():
            assert abs(ours[pair][1] + overhead[pair] - size) <= slack, (path, set(pair))
            checked += 1
    assert checked >= 12


def _text(low: int) -> str:
    return ".".join(str(low >> shift & 255) for shift in (24, 16, 8, 0))


def test_the_prototypes_table_is_counted_once(tmp_path: Path) -> None:
    """10.105.16.206 is the database's service address: its rows and those of the pods behind it carry the same bytes.

    The conversations are put on the wire as a recorder on `any` would see them: before and after translation.
    """
    text = (CORPUS / "prototype" / "wordpress_conversations_10s.txt").read_text(encoding="utf-8")
    line = re.compile(r"^([\d.]+)\s+<->\s+([\d.]+)\s+(\d+)\s+(\d+)\s+(\d+)\s+(\d+)\s+(\d+)\s+(\d+)")
    rows = [(m[1], m[2], int(m[4]), int(m[6])) for m in map(line.match, text.splitlines()) if m]
    address, database = "10.105.16.206", {f"172.17.0.{i}" for i in range(8, 15)}
    before = {other: (down, up) for a, other, down, up in rows if a == address}
    after = [(a, b, down, up) for a, b, down, up in rows if a in database and b in before]
    assert sum(map(sum, before.values())) == sum(down + up for *_, down, up in after)
    total = sum(map(sum, before.values()))
    assert total == 29_773_912
    entities = [service("db", address, {"3306": 3306})]
    entities += [pod(f"wp-{a}", a, "wordpress") for a in before] + [pod(f"db-{a}", a, "db") for a in sorted(database)]
    talks = []
    for number, (server, client, to_server, to_client) in enumerate(after):
        ends = (client, 40_000 + number), (address, 3306), (server, 3306)
        legs = [Leg(ends[0], ends[1], 10), Leg(ends[0], ends[2], 20, FROM_US)]
        steps = [
            Step(mine, min(size, 60_000) - 40, ACK | PSH)
            for mine, total in ((True, to_server), (False, to_client))
            for size in _pieces(total)
        ]
        talks.append(conversation(legs, steps, isn=(number * 10**6, number)))
    result = edges_of(tmp_path, *talks, entities=entities)
    assert result.total() == total
    assert result.report.copies["service_address"]["bytes"] == total
    assert result.edges("service") == {
        ("wordpress", "db", 3306, "tcp"): {**next(iter(result.edges("service").values())), "mediated_bytes": total}
    }
    assert START_S % 10 == 0


def _pieces(total: int) -> list[int]:
    """IP packet sizes that add up, none too small for its headers."""
    if total < 60_000:
        return [total] if total else []
    return [30_000, *_pieces(total - 30_000)]
