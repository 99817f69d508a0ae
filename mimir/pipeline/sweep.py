"""Around a sweep: one parent run in the tracker, and a comparison of what its jobs found."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from mimir.errors import EXIT_DONE, EXIT_EXPECTATION, EXIT_FAILED, EXIT_SPEC
from mimir.files import read_json, write_json, write_text
from mimir.spec.schema import TrackingSpec
from mimir.units import format_duration


def begin(folder: Path, tracking: Mapping[str, Any], jobs: int) -> None:
    """Prepare the tracker before any worker starts (an empty database is initialised once) and open the parent run.

    `jobs`: how many there will be, 0 where nobody knows.
    """
    from mimir.tracking import create_tracker

    folder.mkdir(parents=True, exist_ok=True)
    tracker = create_tracker(TypeAdapter(TrackingSpec).validate_python(dict(tracking)))
    write_json(folder / "sweep.json", {"parent": tracker.start_parent(folder.name), "jobs": jobs})
    print(f"sweep: {folder}{f', {jobs} jobs' if jobs else ''}", file=sys.stderr)


def announce(folder: Path, job: Path, plain: Mapping[str, Any]) -> None:
    """Say which job of how many begins, what it varies, and how long the rest takes if it goes on like this."""
    if not (folder / "sweep.json").is_file() or plain.get("verbosity") == "quiet":
        return
    jobs, done = int(read_json(folder / "sweep.json")["jobs"]), len(list(folder.glob("job-*/job.json")))
    what = [f"{group}={plain[group]['name']}" for group in ("app", "detector", "exfiltration")]
    left = ""
    if done and jobs:
        per_job = (time.time() - (folder / "sweep.json").stat().st_mtime) / done
        left = f", about {format_duration(round(per_job * (jobs - done)))} left"
    number = int(job.name.split("-")[1]) + 1
    print(
        f"job {number}{f' of {jobs}' if jobs else ''}: {' '.join(what)} seed={plain['seed']}{left}",
        file=sys.stderr,
        flush=True,
    )


def end(folder: Path, tracking: Mapping[str, Any]) -> int:
    """Compare the runs, print and store the table, close the parent run; returns the exit code of the sweep."""
    from mimir.report.compare import compare
    from mimir.tracking import create_tracker

    jobs, code = _jobs(folder), exit_code(folder)
    directories = dict.fromkeys(Path(job["run_directory"]) for job in jobs if job.get("run_directory"))
    comparison = compare(list(directories))
    write_text(folder / "comparison.csv", comparison.csv())
    write_text(folder / "comparison.html", comparison.html(folder))
    print(comparison.text())
    _print_failures(jobs)
    print(f"comparison: {folder / 'comparison.html'}")
    tracker = create_tracker(TypeAdapter(TrackingSpec).validate_python(dict(tracking)))
    parent = read_json(folder / "sweep.json").get("parent")
    tracker.end_parent(parent, [folder / "comparison.csv", folder / "comparison.html"], failed=code == EXIT_FAILED)
    if line := tracker.where():
        print(line)
    return code


def exit_code(folder: Path) -> int:
    """Exit code of a sweep: 1 when any job failed or had a wrong spec, else 3 when any missed an expectation, else 0."""
    codes = [int(job["exit_code"]) for job in _jobs(folder)]
    if not codes or EXIT_FAILED in codes or EXIT_SPEC in codes:
        return EXIT_FAILED
    return EXIT_EXPECTATION if EXIT_EXPECTATION in codes else EXIT_DONE


def _jobs(folder: Path) -> list[dict[str, Any]]:
    """What the jobs left, in their order."""
    return [_job(job) for job in sorted(folder.glob("job-*"), key=lambda p: int(p.name.split("-")[1]))]


def _job(folder: Path) -> dict[str, Any]:
    """What a job left; a job that died without a word (killed, out of memory) counts as failed."""
    record = folder / "job.json"
    if record.exists():
        return dict(read_json(record)) | {"name": folder.name}
    return {
        "name": folder.name,
        "exit_code": EXIT_FAILED,
        "error": "the job's process ended without a result",
        "overrides": [],
    }


def _print_failures(jobs: list[dict[str, Any]]) -> None:
    failed = [job for job in jobs if job["exit_code"] not in (EXIT_DONE, EXIT_EXPECTATION)]
    for job in failed:
        print(f"{job['name']} failed: python run.py {' '.join(job['overrides'])}\n{job['error']}", file=sys.stderr)
    if failed:
        print(f"{len(failed)} of {len(jobs)} jobs failed; the others are complete", file=sys.stderr)
