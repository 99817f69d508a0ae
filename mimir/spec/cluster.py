"""Types of conf/cluster/*.yaml, told apart by `name`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass as pydantic_dataclass

from mimir.spec.app import ProbeSpec
from mimir.spec.change import HpaSpec, LifecycleSpec

STRICT = ConfigDict(extra="forbid")


@pydantic_dataclass(frozen=True, config=STRICT)
class AddressesSpec:
    """Addresses of the simulated node: networks in CIDR notation, single addresses."""

    node: str
    pods: str
    services: str
    dns_service: str
    api_service: str
    clients: str
    resolver: str
    sink: str


@pydantic_dataclass(frozen=True, config=STRICT)
class TransportSpec:
    """TCP as it looks in the capture. Pairs are `[median, sigma]` of a log-normal, `copy_delay_us` is `[low, high]`."""

    segment_bytes: int
    offload_bytes: int
    initial_window_segments: int
    max_window_segments: int
    retransmit_probability: float
    retransmit_timeout_ms: float
    delayed_ack_ms: float
    quick_acks: int
    copy_delay_us: tuple[float, float]
    turnaround_us: tuple[float, float]
    client_rtt_ms: tuple[float, float]
    outside_rtt_ms: tuple[float, float]


@pydantic_dataclass(frozen=True, config=STRICT)
class DnsSpec:
    """The cluster's DNS service."""

    replicas: int
    search: list[str]
    ndots: int
    answer_us: tuple[float, float]
    resolver_ms: tuple[float, float]
    cache_s: float
    probe: ProbeSpec
    watch_every_s: float


@pydantic_dataclass(frozen=True, config=STRICT)
class SimulatedSpec:
    """The simulated cluster: addresses, transport and background traffic."""

    name: Literal["simulated"]
    slice_s: float
    addresses: AddressesSpec
    transport: TransportSpec
    dns: DnsSpec
    content_share: float
    content_memory: float
    autoscaling: bool
    hpa: HpaSpec
    pods: LifecycleSpec


@pydantic_dataclass(frozen=True, config=STRICT)
class RecordedSpec:
    """Captures or flow records that already exist. Either `fit`, `calibrate` and `test`, or one `capture` cut by `split`."""

    name: Literal["recorded"]
    capture: str | None
    split: list[float]
    fit: str | None
    calibrate: str | None
    test: str | None
    entities: str | None
    addresses: str | None
    truth: str | None


@pydantic_dataclass(frozen=True, config=STRICT)
class NetnsAddressesSpec:
    """Addresses of the testbed: networks in CIDR notation, single addresses. None of them is seen outside it."""

    node: str
    pods: str
    services: str
    dns_service: str
    clients: str
    resolver: str
    sink: str


@pydantic_dataclass(frozen=True, config=STRICT)
class NetnsDnsSpec:
    """The testbed's DNS servers and what resolvers in the pods do."""

    replicas: int
    search: list[str]
    ndots: int
    resolver_ms: tuple[float, float]
    cache_s: float
    timeout_s: float
    probe: ProbeSpec


@pydantic_dataclass(frozen=True, config=STRICT)
class NetnsLimitsSpec:
    """When a recording is not worth anything."""

    failed_share: float
    late_share: float
    late_s: float
    dropped_share: float
    lost_leak_share: float


@pydantic_dataclass(frozen=True, config=STRICT)
class NetnsSpec:
    """Real processes and sockets in network namespaces of this machine."""

    name: Literal["netns"]
    parallel: bool
    addresses: NetnsAddressesSpec
    dns: NetnsDnsSpec
    offload_bytes: int
    warmup_s: float
    drain_s: float
    request_timeout_s: float
    ring_mb: int
    load_driver: Literal["builtin", "locust"]
    locust_start_s: int
    autoscaling: bool
    hpa: HpaSpec
    pods: LifecycleSpec
    real_stores: Literal["auto"] | bool
    limits: NetnsLimitsSpec


ClusterSpec = Annotated[SimulatedSpec | RecordedSpec | NetnsSpec, Field(discriminator="name")]
