"""Types of what makes a cluster change at run time: autoscaling and benign triggers. Values stand in conf/*.yaml.

A pair `[median, sigma]` is a log-normal, a pair `[low, high]` is uniform, both ends included.
"""

from __future__ import annotations

from pydantic import ConfigDict
from pydantic.dataclasses import dataclass as pydantic_dataclass

STRICT = ConfigDict(extra="forbid")


@pydantic_dataclass(frozen=True, config=STRICT)
class AutoscalingSpec:
    """A HorizontalPodAutoscaler of one service: CPU use aimed at, in % of what its pods request, and its bounds."""

    min_replicas: int
    max_replicas: int
    target_percent: float
    request_millicores: float


@pydantic_dataclass(frozen=True, config=STRICT)
class HpaSpec:
    """The control loop of all autoscalers."""

    sync_s: float
    tolerance: float
    stabilization_s: float
    up_pods: int
    up_percent: float
    cpu_share: float
    idle_millicores: float


@pydantic_dataclass(frozen=True, config=STRICT)
class LifecycleSpec:
    """How long pods take to start and to stop. Pairs are `[median, sigma]`."""

    start_s: tuple[float, float]
    drain_s: tuple[float, float]
    remove_s: float
    addresses: int


@pydantic_dataclass(frozen=True, config=STRICT)
class PodChangeSpec:
    """Which services a change of pods touches, and how many pods of each (rolling updates replace all)."""

    services: list[str]
    count: int


@pydantic_dataclass(frozen=True, config=STRICT)
class BenignSpec:
    """One benign trigger of an application: what it is, the ATT&CK technique it resembles, how long, whom it touches."""

    what: str
    resembles: str
    duration_s: tuple[float, float]
    pods: PodChangeSpec
