"""Packets → connections → directed edges per window, with names instead of addresses."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mimir.flows.build import EdgeReport as EdgeReport
    from mimir.flows.build import build_edges as build_edges
    from mimir.flows.identity import entity_events as entity_events
    from mimir.flows.identity import load_identity as load_identity
    from mimir.flows.identity import read_workloads as read_workloads
    from mimir.flows.merge import merge_edges as merge_edges
    from mimir.flows.merge import sum_edges as sum_edges
    from mimir.flows.series import load_series as load_series

#: public name → module; imported on first use, because numba and pyarrow take a second
_HOMES = {
    "EdgeReport": "build",
    "build_edges": "build",
    "entity_events": "identity",
    "load_identity": "identity",
    "load_series": "series",
    "merge_edges": "merge",
    "read_workloads": "identity",
    "sum_edges": "merge",
}
__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
