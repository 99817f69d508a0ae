"""The tracker that logs nowhere; the run directory has it all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from mimir.spec.schema import TrackingSpec


class NoTracker:
    """Does nothing, and loses nothing."""

    def __init__(self, spec: TrackingSpec, root: Path):
        pass

    def log(self, run_directory: Path, parent: str | None = None) -> str | None:
        """Nothing is logged."""
        return None

    def where(self) -> str | None:
        """There is nowhere to look."""
        return None

    def start_parent(self, name: str, tags: Mapping[str, str] | None = None) -> str | None:
        """There is no parent run."""
        return None

    def end_parent(self, parent: str | None, files: Sequence[Path], failed: bool) -> None:
        """There is nothing to close."""
