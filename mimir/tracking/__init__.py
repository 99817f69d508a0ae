"""Where runs are logged. A tracker reads run directories only; nothing else in Mimir knows of MLflow."""

from mimir.tracking.base import Tracker
from mimir.tracking.registry import TRACKERS, create_tracker

__all__ = ["TRACKERS", "Tracker", "create_tracker"]
