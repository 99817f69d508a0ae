"""Trackers by name. A new one is: a file here, a name in TrackingSpec, its YAML, one line below, a paragraph in the docs."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import cast

from mimir.errors import MimirError
from mimir.spec.schema import TrackingSpec
from mimir.tracking.base import Tracker

#: name → module:class, imported when asked for
TRACKERS = {
    "mlflow": "mimir.tracking.mlflow_tracker:MlflowTracker",
    "none": "mimir.tracking.none:NoTracker",
}


def create_tracker(spec: TrackingSpec, root: Path | None = None) -> Tracker:
    """The tracker of a spec. `root` is the folder that holds `mlruns/` (default: the current one)."""
    if spec.name not in TRACKERS:
        allowed = ", ".join(sorted(TRACKERS))
        raise MimirError(f"tracking.name {spec.name!r} is unknown (allowed: {allowed}); see conf/tracking/")
    module, _, attribute = TRACKERS[spec.name].partition(":")
    return cast(Tracker, getattr(import_module(module), attribute)(spec, (root or Path.cwd()).absolute()))
