"""Types of conf/app/*.yaml: the application model."""

from __future__ import annotations

from pydantic import ConfigDict
from pydantic.dataclasses import dataclass as pydantic_dataclass

STRICT = ConfigDict(extra="forbid")


@pydantic_dataclass(frozen=True, config=STRICT)
class AppSpec:
    """One microservice application."""

    name: str
    description: str
    sensitive: list[str]
