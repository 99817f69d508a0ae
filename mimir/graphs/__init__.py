"""Edges → communication graphs: networkx at the border, scipy.sparse for the metrics."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mimir.graphs.build import build_graph as build_graph
    from mimir.graphs.build import graph_of as graph_of
    from mimir.graphs.export import write_graphs as write_graphs
    from mimir.graphs.metrics import graph_metrics as graph_metrics
    from mimir.graphs.paths import leak_paths as leak_paths

#: public name → module; imported on first use
_HOMES = {
    "build_graph": "build",
    "graph_metrics": "metrics",
    "graph_of": "build",
    "leak_paths": "paths",
    "write_graphs": "export",
}
__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
