"""What is wrong with application, load and leak together: asked before anything is created."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from functools import partial

from mimir.apps.check import check_application
from mimir.apps.graph import allowed_edges
from mimir.errors import Problem
from mimir.exfiltration.paths import branches, resolved_paths
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
    leak = leak_problems(spec.exfiltration, services, edges, spec.recording_s("test"), activity)
    return [*load, *(leak or _lone_store(spec, edges))]


def _lone_store(spec: Spec, edges: Collection[tuple[str, str]]) -> list[Problem]:
    """A fan n_to_1 takes from several stores, or from several pods of one: of a single pod it would make nothing else."""
    fan = spec.exfiltration.fan
    if fan is None or fan.kind != "n_to_1" or spec.exfiltration.channel == "none":
        return []
    for path in resolved_paths(spec.exfiltration, edges):
        stores = {way[0] for way in branches(spec.exfiltration, path, edges)}
        if len(stores) == 1 and spec.app.services[path[0]].replicas < 2:
            got = f"has {path[0]} alone to gather from, and that has one pod"
            others = sorted(
                name for name, one in spec.app.services.items() if one.kind == "store" and name not in stores
            )
            hint = f"add one: exfiltration.fan.stores=[{','.join([path[0], *others[:1]])}], or choose exfiltration=relay_chain"
            return [
                Problem("exfiltration.fan.stores", got, f"a further store ({', '.join(others) or 'none here'})", hint)
            ]
    return []
