"""What is wrong with application, load and leak together: asked before anything is created."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from mimir.apps.check import check_application
from mimir.apps.graph import allowed_edges
from mimir.errors import Problem
from mimir.exfiltration.validate import problems as leak_problems
from mimir.load.check import check_load
from mimir.load.profile import users_at
from mimir.spec import Spec


def _tools(spec: Spec) -> Iterator[Problem]:
    """A third-party program runs where there are processes."""
    if spec.exfiltration.channel.startswith("tool_") and spec.cluster.name == "simulated":
        got = f"is {spec.exfiltration.channel}, a real program, and cluster={spec.cluster.name} runs none"
        yield Problem("exfiltration.channel", got, "another channel", "choose cluster=netns, or another exfiltration")


def workload_problems(spec: Spec) -> list[Problem]:
    """Problems of a spec for a cluster that runs the application itself; leak and load are judged by its graph."""
    found = check_application(spec.app) + list(_tools(spec))
    if spec.cluster.name == "simulated":
        from mimir.cluster.simulated.check import check_cluster

        found += check_cluster(spec.cluster, spec.app)
    if found:
        return found
    load = check_load(spec.load, spec.app)
    activity = None if load else partial(users_at, spec.load.of("test"))
    services, edges = list(spec.app.services), allowed_edges(spec.app)
    return [*load, *leak_problems(spec.exfiltration, services, edges, spec.recording_s("test"), activity)]
