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

from mimir.cluster.base import Recording, RecordingOrder
from mimir.cluster.netns.cluster import NetnsCluster
from mimir.cluster.netns.requirements import child_environment, requirements
from mimir.spec import Spec
from mimir.spec.build import from_plain
from tests.support.specs import plain

#: a short recording on a testbed, one leak of 15 s in it
SHORT = [
    "cluster=netns", "load=steady", "load.users=5", "load.duration_s=200", "capture.windows_s=[10]", "detector.windows_s=[10]",
    "cluster.warmup_s=3", "cluster.drain_s=3", "exfiltration.incidents=1", "exfiltration.incident_duration_s=15",
    "exfiltration.tail_s=5", "exfiltration.gap_s=0", "cluster.real_stores=false",
]  # fmt: skip
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


def record(folder: Path, duration_s: int, *overrides: str) -> tuple[Recording, Spec]:
    """A test recording of SHORT with overrides, and its spec."""
    spec = from_plain(plain([*SHORT, *overrides]), check=False)
    cluster = NetnsCluster(spec)
    assert not cluster.problems()
    folder.mkdir(exist_ok=True)
    seconds: list[float] = []
    with cluster as running:
        order = RecordingOrder("test", 0, duration_s, (1, 2), True, folder)
        recording = running.record(order, lambda at, packets: seconds.append(at))
    assert seconds == sorted(seconds)
    assert seconds[-1] == duration_s
    return recording, spec


def lines(path: Path) -> list[dict[str, Any]]:
    """The documents of a .jsonl file."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def children(pid: int) -> set[int]:
    """All processes below one."""
    found = set()
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue
        if int(fields[1]) == pid:
            found.add(int(stat.parent.name))
    return found | {grand for child in found for grand in children(child)}


def runs(pid: int) -> bool:
    """Is a process there, and no zombie?"""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] not in "ZX"
    except OSError:
        return False
