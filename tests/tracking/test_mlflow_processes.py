"""What only real processes show: a race for an empty database, and the page MLflow serves."""

from __future__ import annotations

import os
import shlex
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

import mlflow
import pytest

from mimir.tracking.mlflow_tracker import MlflowTracker
from tests.support.run_directory import Sample, build_run_directory
from tests.tracking.conftest import tracking_spec

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.slow


def test_four_processes_start_on_an_empty_database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    runs = [build_run_directory(tmp_path / "runs", Sample(seed=seed)) for seed in range(4)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    started = [
        subprocess.Popen(
            [sys.executable, "-m", "mimir.tracking", "upload", str(run)],
            cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for run in runs
    ]  # fmt: skip
    ended = [(process.communicate(timeout=240), process.returncode) for process in started]
    assert [code for _, code in ended] == [0, 0, 0, 0], ended
    client = mlflow.MlflowClient(f"sqlite:///{tmp_path}/mlruns/mlflow.db")
    experiments = [e for e in client.search_experiments() if e.name == "mimir"]
    assert len(experiments) == 1
    logged = client.search_runs([experiments[0].experiment_id])
    assert sorted((r.info.run_name, r.info.status) for r in logged) == sorted((run.name, "FINISHED") for run in runs)


def test_printed_command_serves_the_runs(finished: Path, new_tracker: Callable[..., MlflowTracker]) -> None:
    tracker = new_tracker()
    tracker.log(finished)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    assignment, *command = shlex.split(tracker.ui_command())
    name, _, value = assignment.partition("=")
    scripts = Path(sys.executable).parent
    environment = {**os.environ, name: value, "PATH": f"{scripts}{os.pathsep}{os.environ['PATH']}"}
    server = subprocess.Popen(
        [*command, "--port", str(port)], env=environment,  # in the folder it was printed in
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    try:
        assert _answers(f"http://127.0.0.1:{port}/health", server)
        client = mlflow.MlflowClient(f"http://127.0.0.1:{port}")
        experiment = client.get_experiment_by_name("mimir")
        assert experiment is not None
        assert [run.info.run_name for run in client.search_runs([experiment.experiment_id])] == [finished.name]
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait(timeout=30)


def _answers(url: str, server: subprocess.Popen[bytes]) -> bool:
    end = time.monotonic() + 90
    while time.monotonic() < end and server.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:  # a fixed loopback address
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            time.sleep(0.3)
    return False


def test_server_takes_runs_as_well(finished: Path, tmp_path: Path) -> None:
    """The http store of MLflow: no artifact location of our own, the same content."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
    server = subprocess.Popen(
        [
            str(Path(sys.executable).parent / "mlflow"), "server", "--workers", "1", "--port", str(port),
            "--backend-store-uri", f"sqlite:///{tmp_path}/server.db", "--artifacts-destination", str(tmp_path / "files"),
        ],
        env=environment, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    try:
        assert _answers(f"http://127.0.0.1:{port}/health", server)
        tracker = MlflowTracker(tracking_spec(uri=f"http://127.0.0.1:{port}"), tmp_path)
        run_id = tracker.log(finished)
        client = mlflow.MlflowClient(f"http://127.0.0.1:{port}")
        assert client.get_run(run_id).info.status == "FINISHED"
        assert "report.html" in {item.path for item in client.list_artifacts(run_id)}
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait(timeout=30)
