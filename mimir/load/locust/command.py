"""Start Locust on a plan as a process of its own and wait for it."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from mimir.errors import MimirError, Problem, RequirementError, SpecError

LOCUSTFILE = Path(__file__).with_name("locustfile.py")
_SAID = 2000  # characters of Locust's own words in an error


def need_locust() -> None:
    """RequirementError where Locust is not installed; it is not imported here."""
    if importlib.util.find_spec("locust") is None:
        raise RequirementError("Locust is not installed; run: pip install 'mimir[locust]'")


def need_base_url(host: str) -> None:
    """SpecError where `host` is no base URL: Locust would find out only request by request."""
    parts = urlsplit(host)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        close = f"write --host http://{host}" if "://" not in host else "change --host"
        raise SpecError([Problem("--host", f"is no base URL (got {host!r})", "http://NAME[:PORT] or https://…", close)])


def locust_command(
    plan: Path, host: str, out: Path, failed_share: float, sources: tuple[str, int] | None = None
) -> list[str]:
    """The command that acts out a plan without a web page, with Locust's own statistics as CSV below `out`."""
    command = [
        sys.executable, "-m", "locust", "-f", str(LOCUSTFILE), "--headless", "--only-summary", "--host", host,
        "--csv", str(out / "locust"), "--json-file", str(out / "locust"), "--loglevel", "WARNING",
        "--plan", str(plan), "--out", str(out), "--failed-share", f"{failed_share:g}",
    ]  # fmt: skip
    return command + (["--sources", sources[0], "--source-count", str(sources[1])] if sources else [])


def locust_environment() -> dict[str, str]:
    """Environment of that process: this package is importable, and no configuration of the user's is read."""
    package = str(Path(__file__).resolve().parents[3])
    kept = {k: v for k, v in os.environ.items() if not k.startswith("LOCUST_")}
    return kept | {"PYTHONPATH": os.pathsep.join([package, *filter(None, [kept.get("PYTHONPATH")])])}


def run_locust(plan: Path, host: str, out: Path, failed_share: float) -> dict[str, Any]:
    """Act a plan out against a base URL; the summary. MimirError, with the reason, when too much failed."""
    need_base_url(host)
    need_locust()
    out.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(  # noqa: S603
        locust_command(plan.resolve(), host, out.resolve(), failed_share), env=locust_environment(), cwd=out,
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    return summary_of(out, done.returncode, done.stderr)


def summary_of(out: Path, exit_code: int, said: str) -> dict[str, Any]:
    """What Locust left behind. MimirError when the load is no good."""
    file = out / "summary.json"
    if not file.exists():
        raise MimirError(f"Locust ended with exit code {exit_code} and no summary; it said: …{said.strip()[-_SAID:]}")
    summary: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    if summary["error"]:
        raise MimirError(f"the load is no good: {summary['error']} (see {out / 'requests.csv'})")
    return summary
