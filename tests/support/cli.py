"""Runs the real command in a subprocess."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
#: small and fast: 10 users, half an hour of benign traffic, three incidents of two minutes
SMALL = (
    "load.users=10",
    "evaluation.fit_s=1800",
    "evaluation.calibrate_s=1800",
    "evaluation.test_s=1800",
    "evaluation.bootstrap_resamples=50",
    "exfiltration.incident_duration_s=120",
    "tracking=none",
)


def environment() -> dict[str, str]:
    """The environment of a user who has no MLflow server."""
    return {k: v for k, v in os.environ.items() if k != "MLFLOW_TRACKING_URI"} | {"MLFLOW_DISABLE_TELEMETRY": "true"}


def command(*arguments: str) -> list[str]:
    """`python run.py …` with this interpreter."""
    return [sys.executable, str(ROOT / "run.py"), *arguments]


def mimir(folder: Path, *arguments: str, timeout: float = 300) -> subprocess.CompletedProcess[str]:
    """Run Mimir in `folder` to its end."""
    return subprocess.run(
        command(*arguments), cwd=folder, env=environment(), capture_output=True, text=True, timeout=timeout, check=False
    )


def run_directories(folder: Path) -> list[Path]:
    """Run directories below `folder`/runs."""
    return sorted(p.parent for p in (folder / "runs").glob("*/status.json"))
