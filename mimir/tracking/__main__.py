"""`python -m mimir.tracking upload RUN_DIRECTORY…` logs old runs; `ui` prints the command that shows them."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from mimir.errors import EXIT_DONE, EXIT_FAILED, MimirError
from mimir.spec.schema import TrackingSpec
from mimir.tracking.content import read_run
from mimir.tracking.mlflow_store import resolve_uri, ui_command
from mimir.tracking.mlflow_tracker import MlflowTracker


def main(arguments: list[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m mimir.tracking", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    upload = commands.add_parser(
        "upload", help="log run directories to MLflow; those logged before are left as they are"
    )
    upload.add_argument("run_directories", nargs="+", type=Path, metavar="RUN_DIRECTORY")
    upload.add_argument("--experiment", help="MLflow experiment (default: tracking.experiment of the run)")
    upload.add_argument(
        "--limit-bytes", type=int, help="larger files are not copied (default: tracking.artifact_limit_bytes)"
    )
    show = commands.add_parser("ui", help="print the command that shows the runs")
    for command in (upload, show):
        command.add_argument("--uri", help="tracking URI (default: MLFLOW_TRACKING_URI, else mlruns/mlflow.db here)")
    given = parser.parse_args(arguments)
    if given.command == "ui":
        print(ui_command(resolve_uri(given.uri, Path.cwd())))
        return EXIT_DONE
    changes = {"experiment": given.experiment, "artifact_limit_bytes": given.limit_bytes, "uri": given.uri}
    return _upload(given.run_directories, {key: value for key, value in changes.items() if value is not None})


def _upload(directories: list[Path], changes: dict[str, Any]) -> int:
    """Log every directory as its own spec says, but for `changes`; one that cannot be logged does not stop the others."""
    failed = 0
    where: dict[str | None, None] = {}
    for directory in directories:
        try:
            tracking = {**read_run(directory).spec["tracking"], **changes, "name": "mlflow"}
            tracker = MlflowTracker(TrackingSpec(**tracking), Path.cwd())
            print(f"{directory}: run {tracker.log(directory)}")
            where[tracker.where()] = None
        except (MimirError, ValueError) as error:
            failed += 1
            print(f"error: {error}", file=sys.stderr)
    print(*where, sep="\n")
    return EXIT_FAILED if failed else EXIT_DONE


if __name__ == "__main__":
    sys.exit(main())
