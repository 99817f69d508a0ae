"""Where an application runs: the Cluster protocol and the Recording all clusters give."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

from mimir.errors import Problem
from mimir.exfiltration.baseline import Baseline
from mimir.spec import Spec

#: called with (seconds recorded so far, packets written so far); cheap, may be called often
Progress = Callable[[float, int], None]


@dataclass(frozen=True)
class Requirement:
    """Something a cluster needs, checked before anything is created."""

    name: str
    met: bool
    how_to_meet: str


@dataclass(frozen=True)
class RecordingOrder:
    """What to record: `name` is fit, calibrate or test; `leaking` is true for the test recording only."""

    name: str
    start_s: int  #: UTC epoch seconds; a real cluster uses the clock instead
    duration_s: int
    entropy: tuple[int, ...]  #: for numpy.random.SeedSequence: (seed, number of the recording)
    leaking: bool
    folder: Path  #: exists, empty; write capture/NAME.pcap and the three .jsonl files here
    baseline: Baseline | None = None  #: of the edge that carries the leak, where the leak depends on it


@dataclass(frozen=True)
class Recording:
    """Files of one recording (see docs/concepts/run-directory.md) and what the recorder counted."""

    captures: tuple[Path, ...]
    entities: Path
    timeline: Path
    truth: Path
    counts: dict[str, Any] = field(default_factory=dict)  #: packets, bytes, dropped …; JSON values


class RunningCluster(Protocol):
    """A cluster that is up. One recording after the other (or, where `parallel`, side by side in processes)."""

    def record(self, order: RecordingOrder, progress: Progress) -> Recording:
        """Make one recording into `order.folder`. Raises MimirError when it would not be worth anything."""
        ...


class Cluster(Protocol):
    """`with cluster as running:` brings it up; leaving always tears down what was created."""

    parallel: bool  #: may recordings be made side by side in separate processes?

    def problems(self) -> list[Problem]:
        """What is wrong with the spec for this cluster: application graph, load, leak path. Creates nothing."""
        ...

    def requirements(self) -> list[Requirement]:
        """What this machine must have, met or not. Creates nothing."""
        ...

    def plan(self, spec: Spec) -> dict[str, Any]:
        """What would be created, as JSON values. Creates nothing."""
        ...

    def __enter__(self) -> RunningCluster: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class NothingStanding:
    """For clusters that stand only while a recording is made: entering and leaving does nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None
