"""Clusters as the pipeline uses them: `cluster=recorded` also takes flow files, which only the flows room can read."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mimir.cluster import registry
from mimir.cluster.base import Cluster
from mimir.spec import Spec


def create_cluster(spec: Spec) -> Cluster:
    """The cluster a spec names; a recorded one is told how to find the time span of flow files."""
    cluster = registry.create_cluster(spec)
    if spec.cluster.name == "recorded":
        from mimir.cluster.recorded import RecordedCluster

        if isinstance(cluster, RecordedCluster):
            cluster.flow_span = _flow_span
    return cluster


def _flow_span(files: Sequence[Path]) -> tuple[float, float, int, int] | None:
    from mimir.flows.foreign import flow_span

    return flow_span(files)
