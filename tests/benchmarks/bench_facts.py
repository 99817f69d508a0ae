"""What was measured where: commit, versions, machine, date."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import time
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from tests.benchmarks.bench_measure import ROOT

PACKAGES = ("numba", "numpy", "pandas", "pyarrow", "pyshark", "scapy", "dpkt", "nfstream")
PROGRAMS = {"tshark": "--version", "tcpdump": "--version", "nfpcapd": "-V"}


def facts(command: str) -> dict[str, Any]:
    """JSON values for the head of the page."""
    return {
        "command": command,
        "commit": _first_line("git", "rev-parse", "--short=10", "HEAD") + _changed(),
        "date": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        "cores": len(os.sched_getaffinity(0)),
        "processor": _processor(),
        "kernel": platform.release(),
        "load_before": os.getloadavg()[0],
        "versions": {"Python": platform.python_version(), **_packages(), **_programs()},
    }


def _changed() -> str:
    return " with local changes in mimir/" if _first_line("git", "status", "--porcelain", "--", "mimir") else ""


def _first_line(*command: str) -> str:
    """First line that a program prints; empty when it is absent or silent."""
    if not shutil.which(command[0]):
        return ""
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    return next((line.strip() for line in (done.stdout + "\n" + done.stderr).splitlines() if line.strip()), "")


def _processor() -> str:
    with open("/proc/cpuinfo", encoding="utf-8") as lines:
        return next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), "unknown")


def _packages() -> dict[str, str]:
    found = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "absent"
    return found


def _programs() -> dict[str, str]:
    """The first word with a digit in what `--version` prints."""
    found = {}
    for name, option in PROGRAMS.items():
        words = _first_line(name, option).replace(",", " ").split()
        found[name] = next((w.strip("().") for w in words if w.strip("().")[:1].isdigit()), "absent")
    return found
