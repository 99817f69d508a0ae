"""The contract every tracker keeps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol


class Tracker(Protocol):
    """Reads finished (or failed) run directories. Logging the same directory again changes nothing."""

    def log(self, run_directory: Path, parent: str | None = None) -> str | None:
        """Log a run, below the `parent` run of a sweep if there is one; returns the tracker's id of the run, or None."""
        ...

    def where(self) -> str | None:
        """One line that tells the user where to look, or None."""
        ...

    def start_parent(self, name: str, tags: Mapping[str, str] | None = None) -> str | None:
        """Open the run that the runs of a sweep will stand below, and get everything ready for many processes."""
        ...

    def end_parent(self, parent: str | None, files: Sequence[Path], failed: bool) -> None:
        """Attach what compares the runs of the sweep, and close its parent run."""
        ...
