"""SimulatedCluster: the Cluster protocol for virtual time. Nothing is created outside the recording's folder."""

from __future__ import annotations

from ipaddress import IPv4Address
from typing import Any

from mimir.apps.graph import allowed_edges
from mimir.cluster.base import NothingStanding, Progress, Recording, RecordingOrder, Requirement
from mimir.cluster.check import workload_problems
from mimir.cluster.simulated.layout import CLIENTS, RESOLVER, Layout
from mimir.errors import Problem
from mimir.exfiltration.baseline import needs_baseline
from mimir.exfiltration.paths import branches, resolved_paths
from mimir.exfiltration.plan import LEAD_SHARE, incident_bytes
from mimir.load.summary import load_plan
from mimir.spec import Spec
from mimir.spec.app import AppSpec
from mimir.spec.cluster import SimulatedSpec
from mimir.spec.exfiltration import ExfiltrationSpec


class SimulatedCluster(NothingStanding):
    """Renders recordings from a spec. Has no state: recordings may be made in any order and in separate processes."""

    parallel = True

    def __init__(self, spec: Spec):
        self._spec = spec

    def problems(self) -> list[Problem]:
        """An inconsistent application, a load it cannot serve, a leak it has no way for."""
        return workload_problems(self._spec)

    def requirements(self) -> list[Requirement]:
        """Nothing beyond the installed packages."""
        return []

    def plan(self, spec: Spec) -> dict[str, Any]:
        """Pods, addresses, services, expected load and the leaks, as JSON values.

        When incidents begin is drawn from the entropy of the recording; here stands what is fixed before.
        """
        assert isinstance(spec.cluster, SimulatedSpec)
        layout = Layout(spec.app, spec.cluster)
        addresses = spec.cluster.addresses
        return {
            "node": addresses.node,
            "pods": {pod.name: str(IPv4Address(pod.ip)) for pod in layout.pods},
            "services": {name: str(IPv4Address(ip)) for name, ip in layout.service_ip.items()},
            "outside": {CLIENTS: addresses.clients, RESOLVER: addresses.resolver},
            "edges": _edges(spec.app),
            "load": load_plan(spec.load, spec.app, spec.recording_s("test")),
            "incidents": _incidents(spec.exfiltration, spec.app),
        }

    def record(self, order: RecordingOrder, progress: Progress) -> Recording:
        """Render one recording into `order.folder`; the same spec and order give the same bytes."""
        from mimir.cluster.simulated.recorder import record

        return record(self._spec, order, progress)


def _edges(app: AppSpec) -> list[str]:
    """Who connects to whom: for calls in the order of the YAML, then replication and scrapes."""
    called = [(edge.client, edge.server) for edge in app.edges]
    return [f"{client} → {server}" for client, server in [*called, *sorted(allowed_edges(app) - set(called))]]


def _incidents(spec: ExfiltrationSpec, app: AppSpec) -> dict[str, Any]:
    if spec.channel == "none":
        return {"count": 0}
    one_rate = not needs_baseline(spec) and not spec.rates_bytes_per_min
    edges = allowed_edges(app)
    paths = resolved_paths(spec, edges)
    told: dict[str, Any] = {
        "count": spec.incidents,
        "duration_s": spec.incident_duration_s,
        "bytes_each": incident_bytes(spec) if one_rate else None,  # None: they differ, or depend on the fit recording
        "rates_bytes_per_min": spec.rates_bytes_per_min,
        "channel": spec.channel,
        "paths": [list(path) for path in paths],
        "address": spec.address,
        "pacing": spec.pacing,
        "free_share_at_the_beginning": LEAD_SHARE,
        "least_gap_s": spec.gap_s,
    }
    if spec.fan:
        told["branches"] = [[list(way) for way in branches(spec, path, edges)] for path in paths]
    return told
