"""Types of the run spec. Values live in conf/*.yaml; nothing here has a default."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass as pydantic_dataclass

from mimir.spec.app import AppSpec
from mimir.spec.cluster import ClusterSpec
from mimir.spec.detector import DetectorSpec
from mimir.spec.exfiltration import ExfiltrationSpec
from mimir.spec.load import LoadSpec

STRICT = ConfigDict(extra="forbid")


class Reuse(StrEnum):
    """What to do when a finished run with the same signature and code version exists."""

    auto = "auto"
    never = "never"
    require = "require"


@pydantic_dataclass(frozen=True, config=STRICT)
class CaptureSpec:
    """What the recorder keeps and how captures become edges."""

    name: str
    snaplen_bytes: int
    payload: Literal["none", "dns", "all"]
    windows_s: list[int]
    connection_timeout_s: float
    reorder_ms: float
    engine: Literal["none", "joblib", "dask"]
    keep: bool
    flows: bool
    flow_active_timeout_s: int
    dissector: Literal["none", "own", "tshark", "pyshark"]
    dissector_fields: list[str]
    dissector_filter: str
    dissector_packets: int


@pydantic_dataclass(frozen=True, config=STRICT)
class EvaluationSpec:
    """Recordings, alert budget and what counts as success."""

    name: str
    fit_s: int
    calibrate_s: int
    test_s: int
    train_s: int
    train: ExfiltrationSpec  #: what leaks in the recording that only supervised detectors get
    alerts_per_day: float
    confidence: float
    bootstrap_resamples: int
    block_s: Annotated[int, Field(ge=1)]
    recovery_s: Annotated[int, Field(ge=0)]
    trigger_recovery_s: Annotated[int, Field(ge=0)]
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
        """Length (s) of the recording `name` (fit, calibrate, test, train): `load.duration_s`, or as `evaluation` says."""
        return int(self.load.duration_s or getattr(self.evaluation, f"{name}_s"))
