"""HorizontalPodAutoscaler: how many pods a service should have, from the CPU its pods use.

The algorithm is that of autoscaling/v2 for a resource metric with averageUtilization (kubernetes.io, "Horizontal Pod
Autoscaling", Algorithm details; default behavior): desired = ceil(ready × use / target), nothing within the tolerance,
pods that are not ready count as idle when more would be wanted, pods are only removed down to the highest
recommendation of the stabilization window.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from mimir.spec.change import AutoscalingSpec, HpaSpec


def recommend(ready: int, unready: int, used_millicores: float, spec: AutoscalingSpec, tolerance: float) -> int:
    """Pods wanted for a use (sum over the ready pods), before bounds and stabilization.

    >>> spec = AutoscalingSpec(min_replicas=1, max_replicas=9, target_percent=50, request_millicores=100)
    >>> recommend(3, 0, 240, spec, 0.1), recommend(3, 0, 160, spec, 0.1), recommend(3, 2, 240, spec, 0.1)
    (5, 3, 5)
    """
    per_pod = spec.request_millicores * spec.target_percent / 100
    if not ready:
        return unready
    ratio = used_millicores / (ready * per_pod)
    if abs(ratio - 1) <= tolerance:
        return ready + unready
    if ratio > 1 and unready:
        ratio = used_millicores / ((ready + unready) * per_pod)
        if ratio <= 1 + tolerance:
            return ready + unready
        return math.ceil(ratio * (ready + unready) - 1e-9)
    return math.ceil(ratio * ready - 1e-9)


@dataclass
class Autoscaler:
    """Decides for one service; remembers its recommendations as long as they count."""

    spec: AutoscalingSpec
    loop: HpaSpec
    recommended: list[tuple[float, int]] = field(default_factory=list)  # (s, pods)

    def decide(self, now_s: float, ready: int, unready: int, used_millicores: float) -> int:
        """Pods to have from now on."""
        present = ready + unready
        self.recommended = self.recommended or [(now_s, present)]  # the controller begins with what is there
        wanted = recommend(ready, unready, used_millicores, self.spec, self.loop.tolerance)
        since = now_s - self.loop.stabilization_s
        self.recommended = [(at, count) for at, count in self.recommended if at >= since] + [(now_s, wanted)]
        if wanted < present:
            wanted = min(present, max(count for _, count in self.recommended))
        most = max(present + self.loop.up_pods, math.ceil(present * (1 + self.loop.up_percent / 100)))
        return min(max(min(wanted, most), self.spec.min_replicas), self.spec.max_replicas)
