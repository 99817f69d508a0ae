from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from mimir.report import build_report
from mimir.spec.schema import TrackingSpec
from mimir.tracking.mlflow_store import connect, resolve_uri, without_noise
from mimir.tracking.mlflow_tracker import MlflowTracker
from tests.support.run_directory import Sample, build_run_directory, fit_detectors


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """MLflow 3.17 uses what SQLAlchemy 2.1 and pandas 3 deprecate; neither is ours to mend."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.filterwarnings("ignore::DeprecationWarning"))


def tracking_spec(limit_bytes: int = 10_000_000, uri: str | None = None) -> TrackingSpec:
    return TrackingSpec(name="mlflow", experiment="mimir", uri=uri, artifact_limit_bytes=limit_bytes)


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run with a detector that was really fitted, and its report. Do not change it."""
    run = build_run_directory(tmp_path_factory.mktemp("runs"), Sample(detector="egress_volume"))
    fit_detectors(run, Sample(detector="egress_volume"))
    build_report(run)
    return run


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated, empty MLflow database: making one takes seconds, copying it does not."""
    root = tmp_path_factory.mktemp("template")
    with without_noise():
        connect(resolve_uri(f"sqlite:///{root}/mlflow.db", root), "other")
    return root / "mlflow.db"


@pytest.fixture
def new_tracker(template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., MlflowTracker]:
    """Trackers over one fresh database in tmp_path/mlruns."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    (tmp_path / "mlruns").mkdir()
    shutil.copy(template, tmp_path / "mlruns" / "mlflow.db")

    def make(limit_bytes: int = 10_000_000) -> MlflowTracker:
        return MlflowTracker(tracking_spec(limit_bytes), tmp_path)

    return make
