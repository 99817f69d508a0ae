"""Types of conf/load/*.yaml: who asks for what, when."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from pydantic import ConfigDict
from pydantic.dataclasses import dataclass as pydantic_dataclass

from mimir.files import sha256

STRICT = ConfigDict(extra="forbid")


@pydantic_dataclass(frozen=True, config=STRICT)
class BurstSpec:
    """A crowd on top of the profile: a straight rise, then an exponential decay. Times are in days of `day_s`."""

    at: float  #: when it begins, 0 … below `days`
    adds: float  #: height at its top, % of the peak
    rise: float  #: how long the rise takes
    decay: float  #: time constant of the decay


@pydantic_dataclass(frozen=True, config=STRICT)
class TestChangesSpec:
    """What is different in the test recording; null: as in the other two."""

    users: int | None
    sessions_per_min: float | None
    mix: str | dict[str, float] | None


@pydantic_dataclass(frozen=True, config=STRICT)
class LoadSpec:
    """Users that follow a profile: a closed population, or sessions that arrive and end by themselves."""

    name: str
    arrivals: Literal["closed", "open"]
    users: int | None  #: null: as the series says
    sessions_per_min: float | None  #: null: as many as keep `users` there
    duration_s: int | None
    day_s: int
    days: int
    profile: list[float]
    interpolation: Literal["linear", "step"]
    bursts: list[BurstSpec]
    series: str | None
    series_sha256: str | None
    mix: str | dict[str, float] | None
    pace_sigma: float
    pace_memory: float
    triggers: list[str]
    trigger_count: int
    trigger_recordings: list[str]
    trigger_separate: bool
    test: TestChangesSpec

    def of(self, recording: str) -> LoadSpec:
        """The load of one recording: `test` may differ from fit and calibrate."""
        unchanged = TestChangesSpec(users=None, sessions_per_min=None, mix=None)
        if recording != "test":
            return replace(self, test=unchanged)
        changes = {key: getattr(self.test, key) for key in ("users", "sessions_per_min", "mix")}
        return replace(self, test=unchanged, **{k: v for k, v in changes.items() if v is not None})


def load_identity(load: Mapping[str, Any], users: Mapping[str, Any], recording: str) -> dict[str, Any]:
    """What of a load as JSON values decides a recording: `LoadSpec.of`, with the name of a mix replaced by its shares.

    `users` is `app.users`, which has the named mixes.
    """
    changes = load["test"] if recording == "test" else {}
    own = {key: value for key, value in load.items() if key not in ("name", "test", "duration_s")}
    own |= {key: value for key, value in changes.items() if value is not None}
    if own["series_sha256"] is not None:
        own["series"] = None  # where the file lies does not matter
    if not own.get("triggers") or recording not in own["trigger_recordings"]:
        own = {key: value for key, value in own.items() if not key.startswith("trigger")}  # nothing happens
    mix = own["mix"] if own["mix"] is not None else users["mix"]
    return own | {"mix": users["mixes"].get(mix, mix) if isinstance(mix, str) else mix}


def with_series_digest(plain: dict[str, Any]) -> dict[str, Any]:
    """The spec as JSON values with `load.series_sha256` filled in, so that a changed file is another experiment."""
    load = plain.get("load") or {}
    series = load.get("series")
    if not isinstance(series, str) or load.get("series_sha256") is not None or not Path(series).is_file():
        return plain
    return {**plain, "load": {**load, "series_sha256": sha256(Path(series))}}
