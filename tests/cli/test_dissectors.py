"""`capture.dissector` in a run over real-looking captures of several nodes, rotated and packed."""

from __future__ import annotations

import gzip
import shutil
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mimir.files import read_json
from tests.capture import capture_samples as s
from tests.support.cli import environment, mimir, mimir_here, run_directories

needs_tshark = pytest.mark.skipif(shutil.which("tshark") is None, reason="tshark is not installed")
HERE, THERE = "10.77.0.1", "10.77.0.2"
BEGIN_NS, STEP_NS, STEPS = 1_700_000_000_000_000_000, 500_000_000, 121
NODES, KINDS = {"node-1": 11, "node-2": 1}, {"node-1": ".gz", "node-2": ".zst"}  # files, how they are packed
RECORDED = (
    "app=generic", "cluster=recorded", "exfiltration=none", "tracking=none", "capture.windows_s=[1]",
    "detector.windows_s=[1]", "detector=egress_volume",
)  # fmt: skip


def packed(content: bytes, kind: str) -> bytes:
    if kind == ".zst":
        with pa.BufferOutputStream() as out, pa.CompressedOutputStream(out, "zstd") as stream:
            stream.write(content)
            stream.close()
            return out.getvalue().to_pybytes()
    return gzip.compress(content, mtime=0) if kind == ".gz" else content


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """Two nodes that both see a query and a request every half second, one of them in rotated files; and a table."""
    frames = []
    for step in range(STEPS):
        ts, request = BEGIN_NS + step * STEP_NS, f"GET /p?n={step} HTTP/1.1\r\nHost: shop\r\n\r\n".encode()
        query = s.ipv4(HERE, THERE, 17, s.udp(4000 + step, 53, s.dns(f"h{step}.example")), ident=step)
        frames.append(s.Frame(ts, s.sll2(query)))
        frames.append(s.Frame(ts + 1000, s.sll2(s.ipv4(HERE, THERE, 6, s.tcp(5000 + step, 80, 1) + request))))
    for node, count in NODES.items():
        (tmp_path / "shop" / node).mkdir(parents=True)
        each, kind = len(frames) // count, KINDS[node]
        for number in range(count):
            content = packed(s.pcap(frames[number * each : (number + 1) * each], s.SLL2), kind)
            s.save(tmp_path / "shop" / node / f"any.pcap{number}{kind}", content)
    (tmp_path / "shop" / "addresses.csv").write_text(f"address,name,kind,workload\n{THERE},web-0,pod,web\n")
    return tmp_path / "shop"


@needs_tshark
def test_dissectors_read_all_nodes_and_rotated_files(shop: Path, tmp_path: Path) -> None:
    done = mimir_here(
        tmp_path, "-m", *RECORDED, f"cluster.capture={shop}", f"cluster.addresses={shop}/addresses.csv",
        "capture.dissector=own,tshark", "capture.dissector_fields=[dns.qry.name,http.request.uri]",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    names = [f"{node}/any.pcap{number}{KINDS[node]}" for node, count in NODES.items() for number in range(count)]
    tables = {}
    for run in run_directories(tmp_path):
        counts = read_json(run / "capture.json")["fit"]
        assert {name: node["packets"] for name, node in counts["nodes"].items()} == dict.fromkeys(NODES, 2 * STEPS)
        told = read_json(run / "fields.json")
        assert {recording["files"] == names for recording in told["recordings"].values()} == {True}
        tables[told["dissector"]] = (
            pq.read_table(run / "fields.parquet").drop_columns(["stream", "complete"]).to_pylist()
        )
    assert tables["own"] == tables["tshark"]
    queries = Counter(row["dns.qry.name"] for row in tables["own"] if row["dns.qry.name"])
    assert queries == {f"h{step}.example": 2 for step in range(STEPS)}  # once on each node


@pytest.mark.slow  # pyshark needs a process of its own
@needs_tshark
def test_the_limit_of_pyshark_holds_for_each_recording(shop: Path, tmp_path: Path) -> None:
    done = mimir(
        tmp_path, *RECORDED, f"cluster.capture={shop}/node-2", "capture.dissector=pyshark",
        "capture.dissector_packets=7", "capture.dissector_filter=dns",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (run,) = run_directories(tmp_path)
    told = read_json(run / "fields.json")["recordings"]
    assert {name: (one["rows"], len(one["notes"])) for name, one in told.items()} == dict.fromkeys(
        ("fit", "calibrate", "test"), (7, 1)
    )


@pytest.mark.parametrize("dissector", ["tshark", "pyshark"])
def test_a_missing_tshark_is_exit_2_before_anything_is_made(
    tmp_path: Path, dissector: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert environment()["PATH"] == str(tmp_path)
    done = mimir_here(tmp_path, f"capture.dissector={dissector}")
    assert done.returncode == 2, done.stderr
    assert f"capture.dissector is {dissector}: tshark is needed" in done.stderr
    assert "apt-get install tshark" in done.stderr
    assert "Traceback" not in done.stderr
    assert run_directories(tmp_path) == []
