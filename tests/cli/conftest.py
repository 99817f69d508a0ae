from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.cli import SMALL, mimir


@pytest.fixture(scope="session")
def small_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the main job has run once, small; its recordings are shared by the tests that follow."""
    folder = tmp_path_factory.mktemp("small")
    done = mimir(folder, *SMALL)
    assert done.returncode == 0, done.stderr
    return folder
