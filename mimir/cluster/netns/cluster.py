"""NetnsCluster: the Cluster protocol for this machine. Each recording is a testbed process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from dataclasses import asdict
from typing import IO, Any

from mimir.apps.graph import allowed_edges
from mimir.cluster.base import NothingStanding, Progress, Recording, RecordingOrder, Requirement
from mimir.cluster.check import workload_problems
from mimir.cluster.netns.check import check_netns
from mimir.cluster.netns.layout import Layout
from mimir.cluster.netns.real.base import real_or_framed, real_requirements
from mimir.cluster.netns.requirements import child_environment, package, requirements
from mimir.errors import MimirError, Problem
from mimir.load.summary import load_plan
from mimir.spec import Spec
from mimir.spec.build import to_dict
from mimir.spec.cluster import NetnsSpec

_TAIL_BYTES = 2000


class NetnsCluster(NothingStanding):
    """Starts testbeds; has nothing else to clean up, since all a testbed made goes with its process."""

    def __init__(self, spec: Spec):
        if not isinstance(spec.cluster, NetnsSpec):
            raise TypeError(f"NetnsCluster needs cluster=netns, got {spec.cluster.name}")
        self._spec, self._cluster = spec, spec.cluster
        self.parallel = spec.cluster.parallel

    def problems(self) -> list[Problem]:
        """An inconsistent application, load or leak; what this cluster cannot do; addresses that do not fit."""
        return [*workload_problems(self._spec), *check_netns(self._cluster, self._spec)]

    def requirements(self) -> list[Requirement]:
        """Linux, user namespaces, ip, nft; packages that the services' protocols or the load driver need."""
        found = requirements()
        if any(service.protocol == "grpc" for service in self._spec.app.services.values()):
            found.append(package("h2", "netns"))
        if self._cluster.load_driver == "locust":
            found.append(package("locust", "locust"))
        return [*found, *real_requirements(self._spec)]

    def plan(self, spec: Spec) -> dict[str, Any]:
        """Pods, addresses, edges and expected load, as JSON values."""
        layout = Layout(spec.app, self._cluster)
        return {
            "creates": "network namespaces of a process of this user; they end with it",
            "node": self._cluster.addresses.node,
            "pods": {pod.name: pod.ip for pod in layout.pods},
            "services": layout.service_ip,
            **({"stores": stores} if (stores := real_or_framed(spec)) else {}),
            "edges": [f"{client} → {server}" for client, server in sorted(allowed_edges(spec.app))],
            "load": load_plan(spec.load, spec.app, spec.recording_s("test")),
            "real_time_s": sum(spec.recording_s(name) for name in ("fit", "calibrate", "test")),
        }

    def record(self, order: RecordingOrder, progress: Progress) -> Recording:
        """Make one recording in real time. MimirError when it failed or is not worth anything."""
        given = asdict(order) | {"folder": str(order.folder)}
        job = json.dumps({"spec": to_dict(self._spec), "order": given})
        with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as complaints:
            with _testbed(complaints) as process:
                try:
                    counts = _follow(process, job, progress)
                except MimirError as error:
                    raise MimirError(f"{error}{_tail(complaints)}") from None
                finally:
                    process.kill()
            if counts is None:
                raise MimirError(f"the testbed ended without a recording{_tail(complaints)}")
        entities, timeline, truth = (order.folder / f"{name}.jsonl" for name in ("entities", "timeline", "truth"))
        return Recording((order.folder / "capture" / f"{order.name}.pcap",), entities, timeline, truth, counts)


def _testbed(complaints: IO[str]) -> subprocess.Popen[str]:
    """A testbed that waits for its job; signals from the terminal go to its owner only."""
    return subprocess.Popen(
        [sys.executable, "-m", "mimir.cluster.netns.testbed"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=complaints, text=True,
        start_new_session=True, env=child_environment(),
    )  # fmt: skip


def _follow(process: subprocess.Popen[str], job: str, progress: Progress) -> dict[str, Any] | None:
    """Hand the job over and relay progress until the testbed ends; what it recorded. MimirError when it says why not."""
    counts: dict[str, Any] | None = None
    assert process.stdin
    assert process.stdout
    process.stdin.write(job + "\n")
    process.stdin.flush()
    for line in process.stdout:
        said = json.loads(line)
        if "error" in said:
            raise MimirError(said["error"])
        if "progress" in said:
            progress(*said["progress"])
        counts = said.get("done", counts)
    process.wait(timeout=60)
    return counts


def _tail(complaints: IO[str]) -> str:
    complaints.seek(0)
    text = complaints.read().strip()
    return f"; it said: …{text[-_TAIL_BYTES:]}" if text else ""
