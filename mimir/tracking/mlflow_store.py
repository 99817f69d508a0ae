"""Where MLflow keeps runs: one SQLite file, initialised once under a lock, or whatever MLFLOW_TRACKING_URI names."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from mimir.errors import MimirError

if TYPE_CHECKING:
    from mlflow import MlflowClient

SQLITE = "sqlite:///"
LOCK_S, BUSY_S = 300, 60  #: patience with another process that initialises, and with one that writes


def resolve_uri(uri: str | None, root: Path) -> str:
    """The tracking URI: the one given, else MLFLOW_TRACKING_URI, else SQLite in `root`/mlruns. SQLite paths are absolute."""
    found = uri or os.environ.get("MLFLOW_TRACKING_URI") or f"{SQLITE}{root / 'mlruns' / 'mlflow.db'}"
    if found.startswith(SQLITE):
        path, mark, query = found.removeprefix(SQLITE).partition("?")
        return f"{SQLITE}{(root / path).resolve()}{mark}{query}"
    if ("://" not in found and found != "databricks") or found.startswith("file:"):
        raise MimirError(
            f"tracking.uri {found!r} names a folder, which MLflow no longer accepts as a store; "
            f"use sqlite:///{root}/mlruns/mlflow.db or the http address of a server"
        )
    return found


def artifact_root(uri: str) -> str | None:
    """Where artifacts of a SQLite store go: `artifacts/` beside the file. None: the server decides."""
    return (_file(uri).parent / "artifacts").as_uri() if uri.startswith(SQLITE) else None


def _file(uri: str) -> Path:
    return Path(uri.removeprefix(SQLITE).partition("?")[0])


def ui_command(uri: str) -> str:
    """The command that shows the runs (2 processes instead of MLflow's usual 14)."""
    if uri.startswith("http"):
        return f"open {uri}"
    program, where = _mlflow_program(), shlex.quote(uri)
    if not uri.startswith(SQLITE):
        return f"{program} ui --backend-store-uri {where}"
    return f"MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false {program} ui --workers 1 --backend-store-uri {where}"


def _mlflow_program() -> str:
    """`mlflow`, with its path when the shell would find another one or none (a virtual environment not activated)."""
    ours = Path(sys.executable).parent / "mlflow"
    if shutil.which("mlflow") == str(ours):
        return "mlflow"
    return shlex.quote(str(ours.relative_to(Path.cwd()) if ours.is_relative_to(Path.cwd()) else ours))


def _no_telemetry() -> None:
    """Before the first import of mlflow."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("DO_NOT_TRACK", "true")


def connect(uri: str, experiment: str) -> tuple[MlflowClient, str]:
    """A client and the id of the experiment; database and experiment are made if missing, by one process at a time."""
    from filelock import FileLock

    _no_telemetry()
    if not uri.startswith(SQLITE):
        return _client(uri, experiment)
    import mlflow  # noqa: F401 - takes seconds: not while others wait for the lock

    path = _file(uri)
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path.with_name(f"{path.name}.lock"), timeout=LOCK_S):
        return _client(patient(uri), experiment)


def patient(uri: str) -> str:
    """The URI to work with: SQLite is told to wait for other writers, and 5 s (its default) is too short for a sweep."""
    return f"{uri}?timeout={BUSY_S}" if uri.startswith(SQLITE) and "?" not in uri else uri


def _client(uri: str, experiment: str) -> tuple[MlflowClient, str]:
    import mlflow

    _warnings_only()
    client = mlflow.MlflowClient(tracking_uri=uri)
    found = client.get_experiment_by_name(experiment)
    if found is None:
        return client, client.create_experiment(experiment, artifact_location=artifact_root(uri))
    if found.lifecycle_stage != "active":
        raise MimirError(
            f"the MLflow experiment {experiment!r} was deleted; restore it or set tracking.experiment=NAME"
        )
    return client, str(found.experiment_id)


@contextmanager
def without_noise() -> Iterator[None]:
    """Hide warnings that MLflow causes in itself: a user can do nothing about them."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # MLflow 3.17 with SQLAlchemy 2.1 and with pandas 3
        warnings.filterwarnings("ignore", ".*Any type hint is inferred as AnyType", UserWarning)  # import mlflow.pyfunc
        yield


def _warnings_only() -> None:
    """MLflow sets its own level when it is imported; ours comes after."""
    import logging

    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.WARNING)
