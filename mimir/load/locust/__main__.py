"""Command line: write a load down for Locust, and run it against a server."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from mimir.errors import EXIT_DONE, EXIT_FAILED, EXIT_SPEC, MimirError, Problem, SpecError


def main(arguments: list[str] | None = None) -> int:
    """`plan` or `run`: 0 when done, 1 when the load is no good, 2 when it cannot be planned or run."""
    chosen = _parser().parse_args(arguments)
    try:
        print(_plan(chosen) if chosen.command == "plan" else _run(chosen))
    except MimirError as error:
        print(error, file=sys.stderr)
        return EXIT_SPEC if chosen.command == "plan" or isinstance(error, SpecError) else EXIT_FAILED
    return EXIT_DONE


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m mimir.load.locust", description="Run a load with Locust.")
    commands = parser.add_subparsers(dest="command", required=True)
    plan = commands.add_parser("plan", help="write a load down as JSON")
    plan.add_argument("overrides", nargs="*", help="as for run.py, e.g. app=sockshop load=normal load.users=50 seed=2")
    plan.add_argument("--recording", choices=("fit", "calibrate", "test"), default="test", help="whose load")
    plan.add_argument("--duration-s", type=int, help="how long, s (default: as long as the recording)")
    plan.add_argument("--out", type=Path, required=True, help="the file to write, say plan.json")
    run = commands.add_parser("run", help="act it out against a server")
    run.add_argument("plan", type=Path, help="plan.json")
    run.add_argument("--host", required=True, help="base URL, e.g. http://127.0.0.1:8080")
    run.add_argument("--out", type=Path, required=True, help="folder for statistics")
    run.add_argument("--failed-share", type=float, default=0.01, help="share of requests that may fail (default 0.01)")
    return parser


def _plan(chosen: argparse.Namespace) -> str:
    from mimir.files import write_text
    from mimir.load.locust.plan import locust_plan
    from mimir.spec.compose import composed

    spec = composed(chosen.overrides)
    plan = locust_plan(spec, chosen.recording, spec.seed, chosen.duration_s)
    write_text(chosen.out, json.dumps(plan) + "\n")
    seconds = len(plan.get("wanted") or plan["arrivals_per_s"])
    return f"{chosen.out}: {plan['app']}, {seconds:,} s; run it: python -m mimir.load.locust run {chosen.out} --host URL --out FOLDER"


def _run(chosen: argparse.Namespace) -> str:
    from mimir.load.locust.command import need_base_url, run_locust

    need_base_url(chosen.host)
    if not chosen.plan.is_file():
        raise SpecError(
            [Problem("plan", f"{chosen.plan} is no file", next="write it: python -m mimir.load.locust plan")]
        )
    summary = run_locust(chosen.plan, chosen.host, chosen.out, chosen.failed_share)
    return (
        f"{summary['requests']:,} requests by {summary['users_begun']} users, {summary['failed']} failed: {chosen.out}"
    )


if __name__ == "__main__":
    sys.exit(main())
