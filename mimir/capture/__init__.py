"""Packet sources: everything that turns a capture file into `PacketBatch`es, and back."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mimir.capture.counts import CaptureCounts as CaptureCounts
    from mimir.capture.reader import Capture as Capture
    from mimir.capture.reader import open_capture as open_capture

#: public name → module; imported on first use, because numba takes half a second
_HOMES = {"Capture": "reader", "CaptureCounts": "counts", "open_capture": "reader"}
__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
