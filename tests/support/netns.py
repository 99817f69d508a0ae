"""Code that runs inside a testbed's namespaces, for tests: in a process of its own, because namespaces come before threads."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from mimir.cluster.netns.requirements import child_environment, requirements

ROOT = Path(__file__).resolve().parents[2]
_HEAD = """
import json, os, sys
from mimir.cluster.netns.kernel import become_root_of_own_world, die_with_parent
parent = os.getppid()
become_root_of_own_world()
die_with_parent(parent)
"""


@cache
def _unmet() -> str:
    return "; ".join(f"{need.name}: {need.how_to_meet}" for need in requirements() if not need.met)


def need_namespaces() -> None:
    """Skip the test, with the reason, where this machine does not allow namespaces."""
    if _unmet():
        pytest.skip(_unmet())


def inside(code: str, *arguments: str) -> Any:
    """Run code in new namespaces; it prints one JSON document, which is returned."""
    done = subprocess.run(
        [sys.executable, "-c", _HEAD + code, *arguments],
        capture_output=True, text=True, check=False, timeout=120, cwd=ROOT, env=child_environment(),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def network_namespaces(processes: Iterable[int] | None = None) -> set[str]:
    """Every network namespace that one of the processes (all of this machine) is in or holds."""
    found = set()
    chosen = Path("/proc").glob("[0-9]*") if processes is None else (Path(f"/proc/{pid}") for pid in processes)
    for process in chosen:
        for link in (process / "ns/net", *_descriptors(process)):
            try:
                name = os.readlink(link)
            except OSError:
                continue
            if name.startswith("net:"):
                found.add(name)
    return found


def _descriptors(process: Path) -> list[Path]:
    try:
        return list((process / "fd").iterdir())
    except OSError:
        return []
