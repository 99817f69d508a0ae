"""Types of conf/app/*.yaml: the application model. Values and their sources stand in the YAML; there are no defaults.

A pair `[median, sigma]` is a log-normal: median in the unit of the key, sigma the standard deviation of its logarithm.
A pair `[low, high]` is uniform, both ends included. `service:endpoint` names an endpoint of another service.
"""

from __future__ import annotations

from typing import Literal

from pydantic import ConfigDict
from pydantic.dataclasses import dataclass as pydantic_dataclass

from mimir.spec.change import AutoscalingSpec, BenignSpec

STRICT = ConfigDict(extra="forbid")

#: name of everybody beyond the cluster in `edges.client`
OUTSIDE = "outside"


@pydantic_dataclass(frozen=True, config=STRICT)
class CallSpec:
    """A call an endpoint makes: to `service:endpoint`, with a probability, `count` times one after the other."""

    to: str
    probability: float
    count: tuple[int, int]


@pydantic_dataclass(frozen=True, config=STRICT)
class TriggerSpec:
    """Work another service starts because of a call: `service` calls `to` after a delay (a queue's consumer)."""

    service: str
    to: str
    probability: float
    delay_ms: tuple[float, float]


@pydantic_dataclass(frozen=True, config=STRICT)
class ResponseSpec:
    """Size of a reply: `bytes` × `times`, plus `carries` × the reply bytes of the calls made for it.

    `times` is a pair of item counts or the name of a collection, whose growing number of documents is then the factor.
    """

    bytes: tuple[float, float]
    times: tuple[int, int] | str
    carries: float


@pydantic_dataclass(frozen=True, config=STRICT)
class EndpointSpec:
    """One thing a service does. `calls` are stages, one after the other; the calls of one stage run in parallel."""

    action: str
    request: tuple[float, float]
    response: ResponseSpec
    time_ms: tuple[float, float]
    inserts: str | None
    pushed: bool
    calls: list[list[CallSpec]]
    triggers: list[TriggerSpec]


@pydantic_dataclass(frozen=True, config=STRICT)
class ProbeSpec:
    """Kubelet probes of every pod of a service; without request and response bytes only a connection is opened."""

    every_s: float
    request_bytes: int
    response_bytes: int


@pydantic_dataclass(frozen=True, config=STRICT)
class ServiceSpec:
    """One service. `external` ones live beyond the cluster at `address` and are found by `host`."""

    kind: Literal["app", "store", "external"]
    protocol: str
    replicas: int
    port: int
    target_port: int
    node_port: int | None
    host: str | None
    address: str | None
    probe: ProbeSpec | None
    dns_cache_s: float
    endpoints: dict[str, EndpointSpec]


@pydantic_dataclass(frozen=True, config=STRICT)
class EdgeSpec:
    """An allowed edge and how its connections live.

    `per_request`: a connection a call. `kept`: up to `keep` idle connections a client pod are used again, closed after
    `idle_s` (0: never). `shared`: one connection a client pod, calls wait for it.
    `session`: as `shared`, one for each user session. `caller`: all calls of one request of the client use one
    connection, closed after the last of them; `keep` requests a client pod can be under way at a time.
    """

    client: str
    server: str
    connection: Literal["per_request", "kept", "shared", "session", "caller"]
    keep: int
    idle_s: float


@pydantic_dataclass(frozen=True, config=STRICT)
class BackgroundSpec:
    """Traffic without users: every pod of `client` talks to `server` on a connection of its own every `every_s`."""

    client: str
    server: str
    what: str
    every_s: float
    request: tuple[float, float]
    response: tuple[float, float]


@pydantic_dataclass(frozen=True, config=STRICT)
class ReplicationSpec:
    """A store whose pods replicate to each other: every pair of pods keeps a connection between their own addresses.

    Each call of one of `endpoints` is passed on to all other pods before it is answered, as `carries` × its request
    bytes plus `frame`; each answers `reply`, and tells the other pods so. Every `every_s` a pair exchanges `beat` both ways.
    """

    service: str
    port: int
    endpoints: list[str]
    carries: float
    frame: tuple[float, float]
    reply: tuple[float, float]
    every_s: float
    beat: tuple[float, float]


@pydantic_dataclass(frozen=True, config=STRICT)
class ScrapeSpec:
    """Every pod of `client` asks every pod of `server`, by the pod's own address, on another port than calls use."""

    client: str
    server: str
    port: int
    what: str
    every_s: float
    request: tuple[float, float]
    response: tuple[float, float]


@pydantic_dataclass(frozen=True, config=STRICT)
class LookupSpec:
    """Names that pods of these services resolve now and then, `every_s` on average."""

    services: list[str]
    name: str
    every_s: float


@pydantic_dataclass(frozen=True, config=STRICT)
class StepSpec:
    """Wait, then ask the entry service for an endpoint; with `1 - probability` the whole step is left out."""

    wait_s: tuple[float, float]
    request: str
    probability: float


@pydantic_dataclass(frozen=True, config=STRICT)
class RepeatSpec:
    """Steps done `repeat` times (a uniform number of times)."""

    repeat: tuple[int, int]
    steps: list[StepSpec]


@pydantic_dataclass(frozen=True, config=STRICT)
class SessionValueSpec:
    """What fills a `{…}` in actions of the entry service: one of `values`, or a fresh identifier where there are none.

    Drawn once a session, or for each request. Only real requests need it (Locust); sizes do not depend on it.
    """

    per: Literal["session", "request"]
    values: list[str]


@pydantic_dataclass(frozen=True, config=STRICT)
class UsersSpec:
    """What users do: named behaviours, the usual mix of them, other named mixes, the pause between two, what they know."""

    entry: str
    behaviours: dict[str, list[StepSpec | RepeatSpec]]
    mix: dict[str, float]
    mixes: dict[str, dict[str, float]]
    pause_s: tuple[float, float]
    session: dict[str, SessionValueSpec]


@pydantic_dataclass(frozen=True, config=STRICT)
class AppSpec:
    """One microservice application."""

    name: str
    description: str
    namespace: str
    sensitive: list[str]
    leak_paths: dict[str, list[str]]  #: usual path of each exfiltration scenario, store first, outside last
    collections: dict[str, int]
    services: dict[str, ServiceSpec]
    edges: list[EdgeSpec]
    background: list[BackgroundSpec]
    replication: list[ReplicationSpec]
    scrapes: list[ScrapeSpec]
    lookups: list[LookupSpec]
    autoscaling: dict[str, AutoscalingSpec]  #: service → its autoscaler, used where the cluster has them on
    triggers: dict[str, BenignSpec]  #: kind → what it does in this application, used where the load asks for it
    users: UsersSpec
