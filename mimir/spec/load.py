"""Types of conf/load/*.yaml: who asks for what, when."""

from __future__ import annotations

from pydantic import ConfigDict
from pydantic.dataclasses import dataclass as pydantic_dataclass

STRICT = ConfigDict(extra="forbid")


@pydantic_dataclass(frozen=True, config=STRICT)
class LoadSpec:
    """A closed population of users following a day profile."""

    name: str
    users: int
    duration_s: int
