"""The edge of the fit recording on which a relative or adaptive leak depends."""

from __future__ import annotations

from mimir.apps.graph import allowed_edges
from mimir.exfiltration.baseline import Baseline as Baseline
from mimir.exfiltration.baseline import estimate as estimate
from mimir.exfiltration.baseline import needs_baseline
from mimir.exfiltration.paths import resolved_paths
from mimir.spec import Spec


def carrying_services(spec: Spec) -> tuple[str, str] | None:
    """The two services of the first hop of the (first) path; None when the leak does not depend on benign traffic."""
    if not needs_baseline(spec.exfiltration):
        return None
    path = resolved_paths(spec.exfiltration, allowed_edges(spec.app))[0]
    return path[0], path[1]
