"""Types of conf/detector/*.yaml: one dataclass per detector, told apart by `name`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass as pydantic_dataclass

from mimir.spec.detector_rivals import RivalSpec

STRICT = ConfigDict(extra="forbid")


@pydantic_dataclass(frozen=True, config=STRICT)
class EgressVolumeSpec:
    """Parameters of mimir.detectors.egress_volume."""

    name: Literal["egress_volume"]
    windows_s: list[int]


@pydantic_dataclass(frozen=True, config=STRICT)
class AllowlistSpec:
    """Parameters of mimir.detectors.allowlist."""

    name: Literal["allowlist"]
    windows_s: list[int]
    pinned: str | None


@pydantic_dataclass(frozen=True, config=STRICT)
class PcaSpeSpec:
    """Parameters of mimir.detectors.pca_spe."""

    name: Literal["pca_spe"]
    windows_s: list[int]
    variance_kept: float


@pydantic_dataclass(frozen=True, config=STRICT)
class InvariantsSpec:
    """Parameters of mimir.detectors.invariants."""

    name: Literal["invariants"]
    windows_s: list[int]
    families: list[Literal["I1", "I2", "I3", "I4", "I5", "I6"]]
    lags: int
    ridge: float
    memory: list[int]
    combine: Literal["bonferroni", "harmonic"]
    pinned: str | None


@pydantic_dataclass(frozen=True, config=STRICT)
class EdgeCountSpec:
    """Parameters of mimir.detectors.edge_count."""

    name: Literal["edge_count"]
    windows_s: list[int]


@pydantic_dataclass(frozen=True, config=STRICT)
class PcrSpec:
    """Parameters of mimir.detectors.pcr."""

    name: Literal["pcr"]
    windows_s: list[int]


@pydantic_dataclass(frozen=True, config=STRICT)
class RandomSpec:
    """Parameters of mimir.detectors.random_scores."""

    name: Literal["random"]
    windows_s: list[int]
    seed: Annotated[int, Field(ge=0)]


@pydantic_dataclass(frozen=True, config=STRICT)
class EwmaSpec:
    """Parameters of mimir.detectors.ewma."""

    name: Literal["ewma"]
    windows_s: list[int]
    weight: float
    clip: float


@pydantic_dataclass(frozen=True, config=STRICT)
class CusumSpec:
    """Parameters of mimir.detectors.cusum."""

    name: Literal["cusum"]
    windows_s: list[int]
    form: Literal["mosum", "cusum"]
    memory: list[int]
    slack: float


@pydantic_dataclass(frozen=True, config=STRICT)
class EigenvectorSpec:
    """Parameters of mimir.detectors.eigenvector."""

    name: Literal["eigenvector"]
    windows_s: list[int]
    history: int
    threshold: Literal["none", "fisher"]
    critical: float
    discount: float


@pydantic_dataclass(frozen=True, config=STRICT)
class EcodSpec:
    """Parameters of mimir.detectors.ecod."""

    name: Literal["ecod"]
    windows_s: list[int]


@pydantic_dataclass(frozen=True, config=STRICT)
class CopodSpec:
    """Parameters of mimir.detectors.copod."""

    name: Literal["copod"]
    windows_s: list[int]


@pydantic_dataclass(frozen=True, config=STRICT)
class IsolationForestSpec:
    """Parameters of mimir.detectors.isolation_forest."""

    name: Literal["isolation_forest"]
    windows_s: list[int]
    trees: int
    samples: int
    seed: Annotated[int, Field(ge=0)]


@pydantic_dataclass(frozen=True, config=STRICT)
class LofSpec:
    """Parameters of mimir.detectors.lof."""

    name: Literal["lof"]
    windows_s: list[int]
    neighbours: int


@pydantic_dataclass(frozen=True, config=STRICT)
class OcsvmSpec:
    """Parameters of mimir.detectors.ocsvm."""

    name: Literal["ocsvm"]
    windows_s: list[int]
    outside: float
    gamma: float | None


PyodName = Literal[
    "ABOD", "CBLOF", "COPOD", "ECOD", "GMM", "HBOS", "IForest", "INNE", "KDE", "KNN", "KPCA", "LOF", "OCSVM", "Sampling"
]  # fmt: skip


@pydantic_dataclass(frozen=True, config=STRICT)
class PyodSpec:
    """Parameters of mimir.detectors.pyod; its name is that of the estimator."""

    name: PyodName
    windows_s: list[int]
    params: dict[str, bool | int | float | str | None] | None


@pydantic_dataclass(frozen=True, config=STRICT)
class InvariantNetworkSpec:
    """Parameters of mimir.detectors.invariant_network."""

    name: Literal["invariant_network"]
    windows_s: list[int]
    order: int
    fitness: float
    per_measure: int


@pydantic_dataclass(frozen=True, config=STRICT)
class MimirLassoSpec:
    """Parameters of mimir.detectors.mimir_lasso."""

    name: Literal["mimir_lasso"]
    windows_s: list[int]
    model: Literal["lasso", "logistic", "gradient_boosting"]
    penalty: float
    trees: int
    seed: Annotated[int, Field(ge=0)]


#: detectors that learn from labelled leaks: a run makes a recording with some for them (evaluation.train)
SUPERVISED = frozenset({"mimir_lasso"})

DetectorSpec = Annotated[
    AllowlistSpec
    | CopodSpec
    | CusumSpec
    | EcodSpec
    | EdgeCountSpec
    | EgressVolumeSpec
    | EigenvectorSpec
    | EwmaSpec
    | InvariantNetworkSpec
    | InvariantsSpec
    | IsolationForestSpec
    | LofSpec
    | MimirLassoSpec
    | OcsvmSpec
    | PcaSpeSpec
    | PcrSpec
    | PyodSpec
    | RandomSpec
    | RivalSpec,
    Field(discriminator="name"),
]
