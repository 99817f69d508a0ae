"""Types of conf/cluster/*.yaml, told apart by `name`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass as pydantic_dataclass

STRICT = ConfigDict(extra="forbid")


@pydantic_dataclass(frozen=True, config=STRICT)
class SimulatedSpec:
    """The simulated cluster: addresses, transport and background traffic."""

    name: Literal["simulated"]


@pydantic_dataclass(frozen=True, config=STRICT)
class RecordedSpec:
    """Captures that already exist. Either `fit`, `calibrate` and `test`, or one `capture` cut by `split`."""

    name: Literal["recorded"]
    capture: str | None
    split: list[float]
    fit: str | None
    calibrate: str | None
    test: str | None
    entities: str | None
    addresses: str | None
    truth: str | None


ClusterSpec = Annotated[SimulatedSpec | RecordedSpec, Field(discriminator="name")]
