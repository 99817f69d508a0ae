"""The page for people: `build_report` and `terminal_summary` read a run directory and nothing else."""

from __future__ import annotations

from pathlib import Path


def build_report(run_directory: Path) -> None:
    """Write `figures/*.svg` and `report.html` into a run directory; the same files give the same bytes.

    Raises MimirError when the run has no metrics.json yet.
    """
    from mimir.report.page import write_page

    write_page(run_directory)


def terminal_summary(run_directory: Path) -> str:
    """The result of a finished run as plain text: verdict, main measures, where the run and its report are."""
    from mimir.report.terminal import summarise

    return summarise(run_directory)
