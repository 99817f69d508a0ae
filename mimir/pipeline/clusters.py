"""Clusters as the pipeline uses them: `cluster=recorded` also takes flow files, which only the flows room can read."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mimir.cluster import registry
from mimir.cluster.base import Cluster
from mimir.detectors.registry import WITHOUT_BYTES
from mimir.errors import MimirError, Problem
from mimir.spec import Spec


def create_cluster(spec: Spec) -> Cluster:
    """The cluster a spec names; a recorded one is told how to find the time span of flow files."""
    cluster = registry.create_cluster(spec)
    if spec.cluster.name == "recorded":
        from mimir.cluster.recorded import RecordedCluster

        if isinstance(cluster, RecordedCluster):
            cluster.flow_span = _flow_span
    return cluster


def blind_detector(spec: Spec) -> list[Problem]:
    """Is the detector asked to judge bytes where the recorded files hold none? Unreadable files are not judged here."""
    if spec.cluster.name != "recorded" or spec.detector.name in WITHOUT_BYTES:
        return []
    from mimir.flows.foreign import flow_format

    files = [Path(names[0]) for names in create_cluster(spec).plan(spec)["reads"].values() if names]
    for file in files:
        try:
            blind = flow_format(file) == "hubble"
        except MimirError:
            continue
        if blind:
            return [Problem(
                "detector", f"{spec.detector.name} judges bytes, and Hubble flows have none ({file}): all scores would be 0",
                "packets, Zeek, nfdump or conversation tables", "name another source: cluster.capture=trace.pcap",
            )]  # fmt: skip
    return []


def _flow_span(files: Sequence[Path]) -> tuple[float, float, int, int] | None:
    from mimir.flows.foreign import flow_span

    return flow_span(files)
