from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from mimir.errors import MimirError
from mimir.tracking import TRACKERS, create_tracker
from mimir.tracking.mlflow_store import artifact_root, patient, resolve_uri, ui_command
from mimir.tracking.none import NoTracker
from tests.tracking.conftest import tracking_spec


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


def test_default_is_one_absolute_sqlite_file(tmp_path: Path) -> None:
    uri = resolve_uri(None, tmp_path)
    assert uri == f"sqlite:///{tmp_path}/mlruns/mlflow.db"
    assert artifact_root(uri) == f"file://{tmp_path}/mlruns/artifacts"
    assert patient(uri) == f"{uri}?timeout=60"


def test_relative_file_stands_below_the_root(tmp_path: Path) -> None:
    assert resolve_uri("sqlite:///here/my.db", tmp_path) == f"sqlite:///{tmp_path}/here/my.db"


def test_environment_is_honoured_and_the_spec_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:5000")
    assert resolve_uri(None, tmp_path) == "http://127.0.0.1:5000"
    assert resolve_uri("sqlite:////a/b.db", tmp_path) == "sqlite:////a/b.db"
    assert artifact_root("http://127.0.0.1:5000") is None
    assert ui_command("http://127.0.0.1:5000") == "open http://127.0.0.1:5000"


@pytest.mark.parametrize("uri", ["mlruns", "./mlruns", "file:///a/mlruns"])
def test_folders_are_refused_with_a_way_out(tmp_path: Path, uri: str) -> None:
    with pytest.raises(MimirError, match=r"no longer accepts.*sqlite:///"):
        resolve_uri(uri, tmp_path)


def test_command_names_the_file_and_quotes_it(tmp_path: Path) -> None:
    command = ui_command("sqlite:////a b/mlflow.db")
    assert command.endswith("mlflow ui --workers 1 --backend-store-uri 'sqlite:////a b/mlflow.db'")


def test_registry_knows_every_tracker_of_the_schema(tmp_path: Path) -> None:
    assert set(TRACKERS) == {"mlflow", "none"}
    for name in TRACKERS:
        spec = type(tracking_spec())(name=name, experiment="x", uri=None, artifact_limit_bytes=1)
        assert create_tracker(spec, tmp_path).__class__.__module__.startswith("mimir.tracking.")


def test_none_does_nothing(tmp_path: Path) -> None:
    tracker = NoTracker(tracking_spec(), tmp_path)
    assert tracker.log(tmp_path) is None
    assert tracker.where() is None
    assert tracker.start_parent("sweep") is None
    tracker.end_parent(None, [], False)
    assert list(tmp_path.iterdir()) == []


def test_mlflow_is_imported_only_when_a_run_is_logged(tmp_path: Path) -> None:
    code = (
        "import sys; from mimir.tracking import create_tracker; from mimir.spec.schema import TrackingSpec;"
        "t = create_tracker(TrackingSpec(name='mlflow', experiment='x', uri=None, artifact_limit_bytes=1)); t.where();"
        "assert 'mlflow' not in sys.modules and 'pandas' not in sys.modules"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=Path(__file__).parents[2], check=False
    )
    assert done.returncode == 0, done.stderr
