"""Starting a pod's real programs from the testbed, and what became of them."""

from __future__ import annotations

import asyncio
import json
import os
import pwd
import subprocess
import sys
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

from mimir.cluster.netns.kernel import Namespace
from mimir.cluster.netns.requirements import child_environment
from mimir.errors import MimirError

_NOBODY = 65534
_TAIL = 1500  # characters of a program's own words in an error


@dataclass
class Job:
    """What runs in a pod, as whom, and what it finds there: `before` one after the other, then `commands` beside each other.

    `ends`: it is over when a command ends, with its exit code.
    """

    commands: dict[str, list[str]]
    uid: int
    gid: int
    resolv: str
    before: list[list[str]] = field(default_factory=list)
    files: dict[str, str] = field(default_factory=dict)
    folders: list[str] = field(default_factory=list)
    links: dict[str, str] = field(default_factory=dict)
    env: dict[str, str] = field(default_factory=dict)
    hide: list[str] = field(default_factory=lambda: ["/tmp", "/run"])  # noqa: S108
    tmpfs_mb: int = 512  #: most that each hidden folder can hold
    ends: bool = False


def user(name: str) -> tuple[int, int]:
    """Numbers of the user that a package made for its service; nobody's where there is none."""
    try:
        entry = pwd.getpwnam(name)
    except KeyError:
        return _NOBODY, _NOBODY
    return entry.pw_uid, entry.pw_gid


class RealPod:
    """Programs that run in a pod. They end with `kill`, and with this process."""

    def __init__(self, namespace: Namespace, job: Job, log: Path):
        self.name, self._log = namespace.name, log
        log.parent.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "mimir.cluster.netns.real.pod", str(os.getpid())]
        with log.open("ab") as said, namespace:
            self._process = subprocess.Popen(  # noqa: S603
                command, stdin=subprocess.PIPE, stdout=said, stderr=said, env=child_environment()
            )
        assert self._process.stdin
        self._process.stdin.write(json.dumps(asdict(job)).encode())
        self._process.stdin.close()

    @property
    def alive(self) -> bool:
        """Does everything still run?"""
        return self._process.poll() is None

    @property
    def said(self) -> str:
        """What the programs wrote to standard output and error."""
        return self._log.read_text(encoding="utf-8", errors="replace")

    def check(self) -> None:
        """MimirError, with the programs' last words, when one of them ended."""
        if not self.alive:
            raise MimirError(
                f"{self.name} ended (exit code {self._process.returncode}); it said: …{self.said[-_TAIL:]}"
            )

    async def done(self, limit_s: float) -> str:
        """Wait for a job that ends; what it said. MimirError when it fails or takes too long."""
        until = time.monotonic() + limit_s
        while self.alive:
            if time.monotonic() > until:
                self.kill()
                raise MimirError(f"{self.name} was not done after {limit_s:g} s; it said: …{self.said[-_TAIL:]}")
            await asyncio.sleep(0.05)
        if self._process.returncode:
            self.check()
        return self.said

    def kill(self) -> None:
        """End all of it at once, as a node that kills a pod without grace."""
        self._process.kill()
        self._process.wait()

    def memory_kb(self) -> int:
        """Proportional set size of all its processes, kB."""
        return sum(_pss_kb(pid) for pid in descendants(self._process.pid))

    def cpu_s(self) -> float:
        """Processor time of all its processes so far, those that ended and were waited for included."""
        return sum(_cpu_s(pid) for pid in descendants(self._process.pid))


def descendants(pid: int) -> list[int]:
    """A process and all below it."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()
    except OSError:
        return []
    return [pid, *(below for child in children for below in descendants(int(child)))]


def _pss_kb(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))


def _cpu_s(pid: int) -> float:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rsplit(")", 1)[1].split()
    except OSError:
        return 0.0
    return sum(int(ticks) for ticks in fields[11:15]) / os.sysconf("SC_CLK_TCK")
