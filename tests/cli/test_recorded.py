from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pandas as pd
import pytest

from mimir.files import read_json, read_jsonl
from tests.support.cli import SMALL, mimir_here, run_directories

CORPUS = Path(os.environ.get("MIMIR_CORPUS", Path(__file__).parents[3] / "shared/data")) / "captures"
RECORDED = ("cluster=recorded", "exfiltration=none", "tracking=none")
COUNTED = ["recording", "window_s", "window_start", "client", "server", "server_port", "proto", "view"]


def only_run(folder: Path, part: str) -> Path:
    (directory,) = [d for d in run_directories(folder) if part in d.name]
    return directory


def test_captures_of_a_run_read_back_give_its_edges_and_alerts(small_run: Path, tmp_path: Path) -> None:
    source = only_run(small_run, "relay_chain-invariants")
    files = [f"cluster.{name}={source}/capture/{name}.pcap" for name in ("fit", "calibrate", "test")]
    logs = [f"cluster.entities={source}/entities.jsonl", f"cluster.truth={source}/truth.jsonl"]
    done = mimir_here(tmp_path, *SMALL, *RECORDED, *files, *logs)
    assert done.returncode == 0, done.stderr
    copy = only_run(tmp_path, "none-invariants")
    before, after = (pd.read_parquet(d / "edges.parquet") for d in (source, copy))
    common = before.merge(after, on=COUNTED, suffixes=("_before", "_after"))
    assert len(common) == len(before) == len(after)
    for counter in ("request_bytes", "response_bytes", "connections", "exchanges", "mediated_bytes"):
        assert (common[f"{counter}_before"] == common[f"{counter}_after"]).all()
    assert read_jsonl(copy / "truth.jsonl") == read_jsonl(source / "truth.jsonl")


@pytest.mark.corpus
@pytest.mark.skipif(not CORPUS.is_dir(), reason=f"needs the capture corpus in {CORPUS} (MIMIR_CORPUS)")
def test_bare_capture_of_a_real_database_is_judged_without_names_or_ledger(tmp_path: Path) -> None:
    capture = CORPUS / "deepflow/agent/resources/test/flow_generator/mysql/171-mysql.pcap"
    done = mimir_here(
        tmp_path,
        "app=generic",
        *RECORDED,
        f"cluster.capture={capture}",
        "capture.windows_s=[2]",
        "detector.windows_s=[2]",
    )
    assert done.returncode == 0, done.stderr
    directory = only_run(tmp_path, "generic-none")
    metrics = read_json(directory / "metrics.json")
    assert metrics["windows"]["2"]["overall"]["event_recall"] == {
        "value": None, "low": None, "high": None, "reason": "no ledger: what happened is unknown"
    }  # fmt: skip
    counts = read_json(directory / "capture.json")["fit"]
    assert counts["packets"] == 1040
    edges = pd.read_parquet(directory / "edges.parquet")
    assert set(edges["server_port"]) == {20_130}  # where that database listens


@pytest.fixture
def loopback_capture(tmp_path: Path) -> Path:
    """25 s of a file server on loopback, recorded by tcpdump; the last fifth asks for a larger file."""
    if os.geteuid() != 0 or not shutil.which("tcpdump"):
        pytest.skip("recording with tcpdump needs root and tcpdump")
    (tmp_path / "small").write_bytes(b"s" * 1000)
    (tmp_path / "large").write_bytes(b"l" * 200_000)
    capture, port = tmp_path / "lo.pcap", 38_417
    serve = [sys.executable, "-m", "http.server", str(port), "--bind", "127.0.0.1", "--directory", str(tmp_path)]
    record = ["tcpdump", "-i", "lo", "-U", "-Z", "root", "-s", "96", "-w", str(capture), "tcp", "port", str(port)]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(serve, **quiet) as server, subprocess.Popen(record, **quiet) as recorder:
        try:
            _ask(port, "small", 60)  # until both are up
            for number in range(100):
                _ask(port, "large" if number >= 80 else "small", 1)
                time.sleep(0.25)
        finally:
            recorder.terminate()
            server.terminate()
    return capture


def _ask(port: int, name: str, tries: int) -> None:
    for _ in range(tries):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/{name}", timeout=5) as reply:
                reply.read()
            return
        except OSError:
            time.sleep(0.25)
    raise RuntimeError(f"no answer on port {port}")


@pytest.mark.slow
@pytest.mark.netns
def test_capture_recorded_by_tcpdump_shows_what_happened(loopback_capture: Path, tmp_path: Path) -> None:
    table = tmp_path / "addresses.csv"
    table.write_text("address,name,kind,workload\n127.0.0.1,files-0,pod,files\n")
    done = mimir_here(
        tmp_path, "app=generic", *RECORDED, f"cluster.capture={loopback_capture}", f"cluster.addresses={table}",
        "capture.windows_s=[1]", "detector.windows_s=[1]", "detector=egress_volume",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    directory = only_run(tmp_path, "generic-none")
    edges = pd.read_parquet(directory / "edges.parquet")
    service = edges[(edges["view"] == "service") & (edges["server_port"] == 38_417)]
    assert set(service["server"]) == set(service["client"]) == {"files"}
    payload = service.groupby("recording")["response_payload_bytes"].sum()
    assert payload["test"] > 10 * payload["fit"]
    assert service["response_payload_bytes"].sum() >= 15 * 200_000


def test_leak_in_a_benign_recording_is_refused_by_name(small_run: Path, tmp_path: Path) -> None:
    source = only_run(small_run, "relay_chain-invariants")
    swapped = [f"cluster.{name}={source}/capture/test.pcap" for name in ("fit", "calibrate", "test")]
    done = mimir_here(tmp_path, *SMALL, *RECORDED, *swapped, f"cluster.truth={source}/truth.jsonl")
    assert done.returncode == 1, done.stderr
    assert "happened during the fit recording, which must be benign" in done.stderr
    assert "relay_chain-1" in done.stderr
    assert "Traceback" not in done.stderr


def test_bad_ledger_and_bad_table_are_named_as_the_user_named_them(small_run: Path, tmp_path: Path) -> None:
    capture = f"cluster.capture={only_run(small_run, 'relay_chain-invariants')}/capture/test.pcap"
    (tmp_path / "truth.txt").write_text("x\n")
    (tmp_path / "names.txt").write_text("10.0.0.1 web\n")
    ledger = mimir_here(tmp_path, *SMALL, *RECORDED, capture, "cluster.truth=truth.txt", "seed=-1")
    assert ledger.returncode == 2, ledger.stderr
    for part in ("truth.txt, line 1", "seed must be"):
        assert part in ledger.stderr
    table = mimir_here(tmp_path, *SMALL, *RECORDED, capture, "cluster.addresses=names.txt")
    assert table.returncode == 1, table.stderr
    assert "names.txt, line 1" in table.stderr
    assert "Traceback" not in table.stderr
