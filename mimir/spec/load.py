"""Types of conf/load/*.yaml: who asks for what, when."""

from __future__ import annotations

from pydantic import ConfigDict
from pydantic.dataclasses import dataclass as pydantic_dataclass

STRICT = ConfigDict(extra="forbid")

#: steps of a day profile
STEPS = 24


@pydantic_dataclass(frozen=True, config=STRICT)
class LoadSpec:
    """A closed population of users following a day profile."""

    name: str
    users: int
    duration_s: int | None
    day_s: int
    profile: list[float]
    mix: dict[str, float] | None
    pace_sigma: float
    pace_memory: float
    triggers: list[str]
    trigger_count: int
    trigger_recordings: list[str]
    trigger_separate: bool
