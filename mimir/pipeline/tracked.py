"""Hand a run directory to the tracker; a tracker that fails never costs a run."""

from __future__ import annotations

import sys
import time
import traceback
from typing import TYPE_CHECKING

from mimir.files import read_json
from mimir.pipeline.run_directory import RunDirectory
from mimir.spec import Spec

if TYPE_CHECKING:
    from mimir.spec.compose import JobContext


def log(spec: Spec, directory: RunDirectory, context: JobContext) -> str | None:
    """Log the run; returns the line that tells the user where to look, or None.

    A tracker error is printed and recorded in status.json (`tracking_error`); the run itself stays as it is, and
    `python -m mimir.tracking upload RUN_DIRECTORY` sends it later.
    """
    from mimir.tracking import create_tracker

    began = time.perf_counter()
    try:
        tracker = create_tracker(spec.tracking)
        tracker.log(directory.path, parent=_parent(context))
    except Exception as error:
        directory.update(tracking_error="".join(traceback.format_exception(error)))
        print(
            f"tracking failed ({type(error).__name__}: {error}); nothing is lost, upload later with\n"
            f"  python -m mimir.tracking upload {directory.path}",
            file=sys.stderr,
        )
        return None
    if spec.tracking.name != "none":
        directory.note("track", time.perf_counter() - began, False)
    return tracker.where()


def _parent(context: JobContext) -> str | None:
    """Id of the sweep's parent run, written by mimir.pipeline.sweep before the first job."""
    if context.sweep_folder is None or not (context.sweep_folder / "sweep.json").exists():
        return None
    parent: str | None = read_json(context.sweep_folder / "sweep.json").get("parent")
    return parent
