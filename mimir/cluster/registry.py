"""Clusters by name. A new cluster is a module, a schema, a YAML file and a line here."""

from __future__ import annotations

from importlib import import_module

from mimir.cluster.base import Cluster
from mimir.spec import Spec

CLUSTERS = {
    "simulated": "mimir.cluster.simulated:SimulatedCluster",
    "recorded": "mimir.cluster.recorded:RecordedCluster",
    "netns": "mimir.cluster.netns.cluster:NetnsCluster",
}


def create_cluster(spec: Spec) -> Cluster:
    """The cluster a spec names; imported only now, because each brings its own libraries."""
    module, name = CLUSTERS[spec.cluster.name].split(":")
    cluster: Cluster = getattr(import_module(module), name)(spec)
    return cluster
