from __future__ import annotations

from pathlib import Path

import pytest

from mimir.report import build_report
from tests.support.run_directory import Sample, build_run_directory


@pytest.fixture(scope="session")
def reported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run with three detected incidents, and its report."""
    run = build_run_directory(tmp_path_factory.mktemp("runs"), Sample(false_alerts=1))
    build_report(run)
    return run
