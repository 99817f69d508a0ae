"""Users driven by Locust: a process in the namespace beyond the cluster that acts out the plan of `mimir.load.locust`.

It offers what `Users` offers; what it knows of the requests stands in Locust's ledger when the process has ended.
"""

from __future__ import annotations

import asyncio
import csv
import json
import os
import subprocess
from functools import partial
from ipaddress import IPv4Network
from pathlib import Path

import numpy as np

from mimir.cluster.netns.kernel import Namespace, die_with_parent
from mimir.cluster.netns.layout import Layout
from mimir.cluster.netns.real.base import real_entry
from mimir.cluster.netns.unrest import Unrest
from mimir.errors import MimirError
from mimir.load.locust.command import locust_command, locust_environment
from mimir.load.locust.plan import locust_plan
from mimir.load.profile import curve_of
from mimir.spec import Spec
from mimir.spec.app import AppSpec
from mimir.spec.cluster import NetnsSpec
from mimir.spec.load import LoadSpec
from mimir.units import NS_PER_S

_STOP_S = 60  # s after the recording in which Locust must have ended
_SAID = 2000  # characters of its own words in an error


class Marks:
    """What the timeline says of the load: users or arrivals wanted at the steps of the profile."""

    def __init__(self, load: LoadSpec, duration_s: float):
        name, peak = ("users", load.users) if load.arrivals == "closed" else ("sessions_per_min", load.sessions_per_min)
        curve = curve_of(load, peak if peak is not None else load.users)
        self.marks: list[tuple[float, dict[str, float]]] = [
            (t, {name if peak is not None else "users": round(float(curve.at(t)), 3)})
            for t in curve.marks_s(0, duration_s)
        ]


class LocustUsers:
    """One continuous population. Counters cover what began since `count_from_ns`; they are there after `close`."""

    def __init__(
        self, spec: Spec, layout: Layout, outside: Namespace, folder: Path, begin: tuple[str, int, int, int], unrest: Unrest
    ):  # fmt: skip
        """`begin`: the recording, when the load begins (ns), from when on requests count (ns), the seed."""
        assert isinstance(spec.cluster, NetnsSpec)
        self._unrest = unrest
        self._spec, self._layout, self._outside, self._out = spec, layout, outside, folder
        self._recording, self._start_ns, self._from_ns, self._seed = begin
        self.start_s = self._start_ns / NS_PER_S
        self._real = real_entry(spec)
        self._late_s = spec.cluster.limits.late_s
        self.due = self.done = self.failed = self.late = 0
        self.excused = 0  #: failed while pods came or went: what such a change costs its users
        self.latencies_s: list[float] = []
        self._process: subprocess.Popen[bytes] | None = None
        self.population = Marks(spec.load.of(self._recording), 0)

    async def run(self, end_ns: int) -> None:
        """Start Locust and wait until it ends, shortly after `end_ns`. MimirError when it says that the load is no good."""
        duration_s = max(1, round((end_ns - self._start_ns) / NS_PER_S))
        self.population = Marks(self._spec.load.of(self._recording), duration_s)
        plan = locust_plan(self._spec, self._recording, self._seed, duration_s, synthetic=not self._real)
        self._out.mkdir(parents=True, exist_ok=True)
        (self._out / "plan.json").write_text(json.dumps(plan) + "\n", encoding="utf-8")
        command = locust_command(self._out / "plan.json", self._host(), self._out, 1.0, self._sources())
        command += ["--begin", f"{self.start_s:.3f}"]
        with (self._out / "said.txt").open("wb") as said, self._outside:
            self._process = subprocess.Popen(  # noqa: S603
                command, stdin=subprocess.DEVNULL, stdout=said, stderr=said, env=locust_environment(), cwd=self._out,
                preexec_fn=partial(die_with_parent, os.getpid()),
            )  # fmt: skip
        while self._process.poll() is None:
            await asyncio.sleep(0.2)
        if self._process.returncode or not (self._out / "summary.json").exists():
            raise MimirError(f"Locust ended with exit code {self._process.returncode}; it said: …{self._said()}")

    def close(self) -> None:
        """Wait for the end of Locust, and read its ledger. MimirError when it does not end."""
        if self._process is None:
            raise MimirError("Locust was never started")
        try:
            self._process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            raise MimirError(f"Locust did not end within {_STOP_S} s; it said: …{self._said()}") from None
        self._read()

    def _read(self) -> None:
        """Requests from when on they count; late is one that began `late_s` after its wait was over."""
        last: dict[str, float] = {}
        with (self._out / "requests.csv").open(newline="", encoding="utf-8") as file:
            rows = sorted(csv.DictReader(file), key=lambda row: float(row["ts"]))
        for row in rows:
            ts, spent_s = float(row["ts"]), float(row["response_s"])
            behind_s = ts - last[row["user"]] - float(row["wait_s"]) if row["user"] in last else 0.0
            last[row["user"]] = ts + spent_s
            if row["ends"] == "1":
                del last[row["user"]]  # what follows is a pause
            if ts * NS_PER_S < self._from_ns:
                continue
            self.due += 1
            self.late += behind_s > self._late_s
            if row["error"]:
                excused = self._unrest.excuses(ts, ts + spent_s)
                self.excused += excused
                self.failed += not excused
            self.done += not row["error"]
            self.latencies_s.append(spent_s)

    def _host(self) -> str:
        name = self._spec.app.users.entry
        service = self._spec.app.services[name]
        address = self._layout.cluster.addresses.node if service.node_port else self._layout.service_ip[name]
        scheme = "https" if service.protocol == "https" and self._real else "http"
        return f"{scheme}://{address}:{service.node_port or service.port}"

    def _sources(self) -> tuple[str, int]:
        """First address of users, and how many there are."""
        count = IPv4Network(self._layout.cluster.addresses.clients).num_addresses - 16
        return self._layout.client_ip(0), count

    def _said(self) -> str:
        said = self._out / "said.txt"
        return said.read_text(encoding="utf-8", errors="replace").strip()[-_SAID:] if said.exists() else ""


def locust_seed(seed: np.random.SeedSequence) -> int:
    """The number that decides all draws of Locust's users."""
    return int(seed.generate_state(1, np.uint64)[0])


def unfit(app: AppSpec, *, real: bool) -> str:
    """Why Locust cannot drive this application's generic services (or `real` programs); empty when it can."""
    entry = app.services.get(app.users.entry)
    if entry is None or entry.protocol == "http" or (entry.protocol == "https" and real):
        return ""
    return f"cannot be locust: {app.users.entry} speaks {entry.protocol} here, and Locust HTTP only"
