"""`python -m mimir.tracking upload RUN_DIRECTORY…` logs old runs; `ui` prints the command that shows them."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from mimir.errors import EXIT_DONE, EXIT_FAILED, MimirError
from mimir.spec.schema import TrackingSpec
from mimir.tracking.mlflow_tracker import MlflowTracker

LIMIT_BYTES = 10_000_000


def main(arguments: list[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m mimir.tracking", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    upload = commands.add_parser(
        "upload", help="log run directories to MLflow; those logged before are left as they are"
    )
    upload.add_argument("run_directories", nargs="+", type=Path, metavar="RUN_DIRECTORY")
    upload.add_argument(
        "--limit-bytes", type=int, default=LIMIT_BYTES, help="larger files are not copied (default: %(default)s)"
    )
    show = commands.add_parser("ui", help="print the command that shows the runs")
    for command in (upload, show):
        command.add_argument("--experiment", default="mimir", help="MLflow experiment (default: %(default)s)")
        command.add_argument("--uri", help="tracking URI (default: MLFLOW_TRACKING_URI, else mlruns/mlflow.db here)")
    given = parser.parse_args(arguments)
    limit = getattr(given, "limit_bytes", LIMIT_BYTES)
    tracker = MlflowTracker(
        TrackingSpec(name="mlflow", experiment=given.experiment, uri=given.uri, artifact_limit_bytes=limit), Path.cwd()
    )
    if given.command == "ui":
        print(tracker.ui_command())
        return EXIT_DONE
    return _upload(tracker, given.run_directories)


def _upload(tracker: MlflowTracker, directories: list[Path]) -> int:
    """Log every directory; one that cannot be logged does not stop the others."""
    failed = 0
    for directory in directories:
        try:
            print(f"{directory}: run {tracker.log(directory)}")
        except MimirError as error:
            failed += 1
            print(f"error: {error}", file=sys.stderr)
    print(tracker.where())
    return EXIT_FAILED if failed else EXIT_DONE


if __name__ == "__main__":
    sys.exit(main())
