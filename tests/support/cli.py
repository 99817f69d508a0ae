"""Runs the real command: in a process of its own, or in this one, where libraries and kernels are loaded already."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import runpy
import subprocess
import sys
import traceback
import warnings
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

from hydra.core.singleton import Singleton

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


def mimir(folder: Path, *arguments: str, timeout: float = 900) -> subprocess.CompletedProcess[str]:
    """Run Mimir in `folder` to its end."""
    return subprocess.run(
        command(*arguments), cwd=folder, env=environment(), capture_output=True, text=True, timeout=timeout, check=False
    )


def mimir_here(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The same script with the same arguments inside this process, with one worker; several seconds cheaper.

    For what the command does. What a process does (signals, workers, start-up) needs `mimir`.
    """
    script, *given = command(*arguments, *([] if "-m" in arguments else ["workers=1"]))[1:]
    out, err, code = io.StringIO(), io.StringIO(), 0
    with _as_in_a_process_of_its_own(folder, [script, *given]):
        try:
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
                runpy.run_path(script, run_name="__main__")
        except SystemExit as leaving:
            code = leaving.code if isinstance(leaving.code, int) else int(leaving.code is not None)
        except Exception:
            code, _ = 1, err.write(traceback.format_exc())
    return subprocess.CompletedProcess([script, *given], code, out.getvalue(), err.getvalue())


@contextlib.contextmanager
def _as_in_a_process_of_its_own(folder: Path, argv: list[str]) -> Iterator[None]:
    """Folder, arguments, environment, warnings, loggers and Hydra's globals of a new process; all put back at the end."""
    root, hydra = logging.getLogger(), Singleton.get_state()
    before, handlers, level = Path.cwd(), list(root.handlers), root.level
    callbacks = sys.modules.get("mimir.pipeline.callbacks")
    if callbacks:
        callbacks.last_exit_code = 0  # type: ignore[attr-defined]
    os.chdir(folder)
    try:
        with (
            mock.patch.object(sys, "argv", argv),
            mock.patch.dict(os.environ, environment(), clear=True),
            warnings.catch_warnings(),
        ):
            warnings.simplefilter("ignore")
            yield
    finally:
        os.chdir(before)
        root.handlers[:], root.level = handlers, level
        Singleton.set_state(hydra)
        if callbacks:
            callbacks.last_exit_code = 0  # type: ignore[attr-defined]


def run_directories(folder: Path) -> list[Path]:
    """Run directories below `folder`/runs."""
    return sorted(p.parent for p in (folder / "runs").glob("*/status.json"))
