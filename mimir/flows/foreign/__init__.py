"""Flow records that other tools made → the same edges that packets give (docs/concepts/foreign-flows.md)."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mimir.flows.foreign.build import build_flow_edges as build_flow_edges
    from mimir.flows.foreign.build import flow_span as flow_span
    from mimir.flows.foreign.detect import flow_format as flow_format
    from mimir.flows.foreign.entity_log import looks_pickled as looks_pickled
    from mimir.flows.foreign.entity_log import read_entity_log as read_entity_log

#: public name → module; imported on first use
_HOMES = {
    "build_flow_edges": "build",
    "flow_format": "detect",
    "flow_span": "build",
    "looks_pickled": "entity_log",
    "read_entity_log": "entity_log",
}
__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
