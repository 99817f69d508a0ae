"""Types of conf/detector/*.yaml for detectors of the literature that follow streams, graphs and messages."""

from __future__ import annotations

from typing import Literal

from pydantic import ConfigDict
from pydantic.dataclasses import dataclass as pydantic_dataclass

STRICT = ConfigDict(extra="forbid")
Counted = Literal["connections", "packets", "bytes"]


@pydantic_dataclass(frozen=True, config=STRICT)
class MidasSpec:
    """Parameters of mimir.detectors.midas."""

    name: Literal["midas"]
    windows_s: list[int]
    weight: Counted


@pydantic_dataclass(frozen=True, config=STRICT)
class MidasRSpec:
    """Parameters of mimir.detectors.midas, with relations."""

    name: Literal["midas_r"]
    windows_s: list[int]
    weight: Counted
    decay: float


@pydantic_dataclass(frozen=True, config=STRICT)
class MidasFSpec:
    """Parameters of mimir.detectors.midas, with the filtering core."""

    name: Literal["midas_f"]
    windows_s: list[int]
    weight: Counted
    decay: float
    filter_quantile: float


@pydantic_dataclass(frozen=True, config=STRICT)
class SpotlightSpec:
    """Parameters of mimir.detectors.spotlight."""

    name: Literal["spotlight"]
    windows_s: list[int]
    sketches: int
    source_share: float
    target_share: float
    shrinkage: float
    seed: int


@pydantic_dataclass(frozen=True, config=STRICT)
class OddballSpec:
    """Parameters of mimir.detectors.oddball."""

    name: Literal["oddball"]
    windows_s: list[int]
    per_node: bool


@pydantic_dataclass(frozen=True, config=STRICT)
class BeaconSpec:
    """Parameters of mimir.detectors.beacon."""

    name: Literal["beacon"]
    windows_s: list[int]
    lookback_s: int
    bins: int
    min_connections: int


@pydantic_dataclass(frozen=True, config=STRICT)
class KitsuneSpec:
    """Parameters of mimir.detectors.kitsune."""

    name: Literal["kitsune"]
    windows_s: list[int]
    decays: list[float]
    group_size: int
    hidden_share: float
    learning_rate: float
    epochs: int
    batch: int
    most_instances: int
    seed: int


@pydantic_dataclass(frozen=True, config=STRICT)
class DnsInformationSpec:
    """Parameters of mimir.detectors.dns_information."""

    name: Literal["dns_information"]
    windows_s: list[int]
    variant: Literal["auto", "compression", "hyperloglog", "bytes"]
    cluster_domain: str
    search_domains: list[str]
    tick_s: float


@pydantic_dataclass(frozen=True, config=STRICT)
class HttpFingerprintSpec:
    """Parameters of mimir.detectors.http_fingerprint."""

    name: Literal["http_fingerprint"]
    windows_s: list[int]
    similarity: float
    size_factor: float


RivalSpec = (
    MidasSpec
    | MidasRSpec
    | MidasFSpec
    | SpotlightSpec
    | OddballSpec
    | BeaconSpec
    | KitsuneSpec
    | DnsInformationSpec
    | HttpFingerprintSpec
)
