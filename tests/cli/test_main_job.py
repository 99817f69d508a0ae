from __future__ import annotations

import re
import signal
import subprocess
import time
from pathlib import Path

import pytest

from mimir.files import read_json, read_jsonl, sha256
from tests.support.cli import SMALL, command, environment, mimir, mimir_here, run_directories

FILES = {
    "spec.yaml", "plan.json", "status.json", "environment.json", "manifest.json", "capture.json", "entities.jsonl", "timeline.jsonl",
    "truth.jsonl", "edges.parquet", "scores.parquet", "alerts.jsonl", "metrics.json", "report.html", "graphs/pod.graphml",
    "graphs/service.graphml", "capture/fit.pcap", "capture/calibrate.pcap", "capture/test.pcap", "detector/w60/state.json",
    "detector/w60/state.npz", "detector/w60/threshold.json",
}  # fmt: skip
NOT_DATA = {"spec.yaml", "environment.json", "plan.json", "report.html"}  # they say how, when and where


def main_run(folder: Path) -> Path:
    (directory,) = [d for d in run_directories(folder) if "-invariants-" in d.name and "relay_chain" in d.name]
    return directory


def data_digests(directory: Path) -> dict[str, str]:
    manifest = read_json(directory / "manifest.json")["files"]
    return {n: f["sha256"] for n, f in manifest.items() if n not in NOT_DATA and not n.startswith("figures/")}


def test_run_directory_is_whole_and_its_manifest_true(small_run: Path) -> None:
    directory = main_run(small_run)
    present = {str(p.relative_to(directory)) for p in directory.rglob("*") if p.is_file()}
    assert present >= FILES
    manifest = read_json(directory / "manifest.json")["files"]
    assert {n: sha256(directory / n) for n in manifest} == {n: f["sha256"] for n, f in manifest.items()}
    assert {n: (directory / n).stat().st_size for n in manifest} == {n: f["bytes"] for n, f in manifest.items()}
    status = read_json(directory / "status.json")
    assert (status["state"], status["exit_code"]) == ("done", 0)


def test_leaks_happen_in_the_test_recording_only_and_are_in_the_ledger(small_run: Path) -> None:
    directory = main_run(small_run)
    truth = read_jsonl(directory / "truth.jsonl")
    assert len(truth) == 3
    assert all(t["bytes_delivered"] == t["bytes_intended"] == 200_000 for t in truth)
    assert all(t["sha256_sent"] == t["sha256_received"] for t in truth)
    spans = {
        t["recording"]: t["ts"] for t in read_jsonl(directory / "timeline.jsonl") if t["event"] == "recording_started"
    }
    assert list(spans) == ["fit", "calibrate", "test"]
    assert all(t["start"] >= spans["test"] for t in truth)


def test_second_run_is_reused_and_repeats_only_when_told(small_run: Path) -> None:
    """The repetition has one worker, where the run had two: the bytes are the same."""
    before = data_digests(main_run(small_run))
    again = mimir_here(small_run, *SMALL)
    assert again.returncode == 0, again.stderr
    assert "reused:" in again.stderr
    repeated = mimir_here(small_run, *SMALL, "reuse=never")
    assert repeated.returncode == 0, repeated.stderr
    assert "(0 of 3 recordings reused)" in repeated.stderr
    stages = read_json(main_run(small_run) / "status.json")["stages"]
    assert [name for name, stage in stages.items() if stage["reused"]] == []
    assert data_digests(main_run(small_run)) == before


@pytest.mark.slow
def test_one_and_two_workers_and_a_fresh_folder_give_the_same_bytes(small_run: Path, tmp_path: Path) -> None:
    done = mimir(tmp_path, *SMALL, "workers=1")
    assert done.returncode == 0, done.stderr
    assert data_digests(main_run(tmp_path)) == data_digests(main_run(small_run))


def test_result_on_the_terminal_names_verdict_folder_and_report(small_run: Path) -> None:
    done = mimir_here(small_run, *SMALL)
    assert re.search(r"of 3 incidents (was|were) detected", done.stdout)
    assert f"runs/{main_run(small_run).name}" in done.stdout
    assert "report.html" in done.stdout


@pytest.mark.parametrize(
    "kill",
    [signal.SIGINT, *(pytest.param(other, marks=pytest.mark.slow) for other in (signal.SIGTERM, signal.SIGKILL))],
    ids=["SIGINT", "SIGTERM", "SIGKILL"],
)
def test_stopped_run_leaves_a_directory_that_resumes(small_run: Path, tmp_path: Path, kill: signal.Signals) -> None:
    process = subprocess.Popen(
        command(*SMALL, "seed=7"),
        cwd=tmp_path,
        env=environment(),
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a background shell had it ignored
    )
    deadline = time.monotonic() + 600
    while not list((tmp_path / "runs" / ".cache").glob(".record-*.tmp-*/capture/*")):
        assert time.monotonic() < deadline, "no recording began"
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.05)
    process.send_signal(kill)
    stderr = process.communicate(timeout=60)[1]
    (directory,) = run_directories(tmp_path)
    status = read_json(directory / "status.json")
    if kill == signal.SIGKILL:
        assert status["state"] == "running"
    else:
        assert process.returncode == 1, stderr
        assert (status["state"], status["error"]) == ("failed", "interrupted")
        assert "to resume" in stderr.splitlines()[-1]
    done = mimir_here(tmp_path, *SMALL, "seed=7")
    assert done.returncode == 0, done.stderr
    assert read_json(directory / "status.json")["state"] == "done"
    assert not list((tmp_path / "runs" / ".cache").glob(".*.tmp-*"))
