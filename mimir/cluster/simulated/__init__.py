"""The simulated cluster: packets rendered from simulated requests in virtual time, deterministic under a seed."""

from mimir.cluster.simulated.cluster import SimulatedCluster

__all__ = ["SimulatedCluster"]
