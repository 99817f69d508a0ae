"""Types of the run spec. Values live in conf/*.yaml; nothing here has a default."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass as pydantic_dataclass

from mimir.spec.app import AppSpec
from mimir.spec.cluster import ClusterSpec
from mimir.spec.detector import DetectorSpec
from mimir.spec.load import LoadSpec

STRICT = ConfigDict(extra="forbid")


class Reuse(StrEnum):
    """What to do when a finished run with the same signature and code version exists."""

    auto = "auto"
    never = "never"
    require = "require"


class PathClass(StrEnum):
    """How a leak leaves; metrics are reported per class."""

    none = "none"
    new_edge = "new_edge"
    allowed_chain = "allowed_chain"
    dns = "dns"


@pydantic_dataclass(frozen=True, config=STRICT)
class DnsTunnelSpec:
    """How stolen bytes become query names."""

    domain: str  #: zone the attacker answers for; every name ends with it
    record_type: Literal["TXT", "A", "CNAME", "NULL"]
    encoding: Literal["base32", "hex"]
    label_bytes: int  #: longest label, ≤ 63 (RFC 1035)
    name_bytes: int  #: longest name as text, ≤ 253


@pydantic_dataclass(frozen=True, config=STRICT)
class ExfiltrationSpec:
    """One exfiltration scenario: channel × path × pacing × schedule."""

    name: str
    description: str
    channel: Literal["none", "raw_tcp", "http_relay", "dns_tunnel"]
    path_class: PathClass
    path: list[str]
    port: int | None  #: port of a hop that no allowed edge defines (the collector outside)
    body: Literal["binary", "base64"]  #: how http_relay writes data into a body
    technique: str
    rate_bytes_per_min: float
    bytes_per_message: int
    pacing: Literal["constant", "jitter"]
    incidents: int
    incident_duration_s: int
    dns: DnsTunnelSpec | None


@pydantic_dataclass(frozen=True, config=STRICT)
class CaptureSpec:
    """What the recorder keeps and how captures become edges."""

    name: str
    snaplen_bytes: int
    payload: Literal["none", "dns"]
    windows_s: list[int]
    connection_timeout_s: float
    reorder_ms: float
    keep: bool


@pydantic_dataclass(frozen=True, config=STRICT)
class EvaluationSpec:
    """Recordings, alert budget and what counts as success."""

    name: str
    fit_s: int
    calibrate_s: int
    test_s: int
    alerts_per_day: float
    confidence: float
    bootstrap_resamples: int
    block_s: Annotated[int, Field(ge=1)]
    recovery_s: Annotated[int, Field(ge=0)]
    expect: dict[str, str]


@pydantic_dataclass(frozen=True, config=STRICT)
class TrackingSpec:
    """Where runs are logged."""

    name: Literal["mlflow", "none"]
    experiment: str
    uri: str | None
    artifact_limit_bytes: int


@pydantic_dataclass(frozen=True, config=STRICT)
class PathsSpec:
    """Folders; relative ones are resolved against the folder the command was started in."""

    runs: str
    cache: str


@pydantic_dataclass(frozen=True, config=STRICT)
class Spec:
    """Everything that decides what a run does."""

    app: AppSpec
    cluster: ClusterSpec
    load: LoadSpec
    exfiltration: ExfiltrationSpec
    capture: CaptureSpec
    detector: DetectorSpec
    evaluation: EvaluationSpec
    tracking: TrackingSpec
    seed: int
    reuse: Reuse
    dry_run: bool
    workers: int
    verbosity: Literal["quiet", "normal", "debug"]
    paths: PathsSpec

    def recording_s(self, name: str) -> int:
        """Length (s) of the recording `name` (fit, calibrate, test): `load.duration_s`, or as `evaluation` says."""
        return int(self.load.duration_s or getattr(self.evaluation, f"{name}_s"))
