"""Types of what makes a cluster change at run time: autoscaling and benign triggers. Values stand in conf/*.yaml.

A pair `[median, sigma]` is a log-normal, a pair `[low, high]` is uniform, both ends included.
"""

from __future__ import annotations

from typing import Literal

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
class TransferSpec:
    """A bulk or periodic transfer from `client`, who connects, to `server`: a service, `node` or `outside` each.

    `total_bytes` (uniform; what crosses in `direction`, seen from the client) goes in chunks, one exchange each, at
    `bytes_per_s` on average; the other way go `other_bytes` a chunk. Sizes are payload bytes; totals and rates are a pod's.
    """

    client: str
    server: str
    address: str | None  #: of an end outside; null where none is
    host: str | None  #: name that client pods resolve first; null: none
    port: int
    pods: Literal["one", "all"]
    connection: Literal["shared", "per_request"]
    direction: Literal["up", "down"]
    total_bytes: tuple[float, float]
    chunk_bytes: tuple[float, float]
    other_bytes: tuple[float, float]
    bytes_per_s: float


@pydantic_dataclass(frozen=True, config=STRICT)
class BenignSpec:
    """One benign trigger of an application: what it is, the ATT&CK technique it resembles, how long, whom it touches."""

    what: str
    resembles: str
    duration_s: tuple[float, float]
    pods: PodChangeSpec | None  #: pods that come or go; null for transfers
    transfers: list[TransferSpec]  #: empty for changes of pods
