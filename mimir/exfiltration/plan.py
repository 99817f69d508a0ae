"""When what leaks: incidents placed in a recording, their messages, the synthetic data they carry. Pure, seeded."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mimir.errors import Problem, SpecError
from mimir.spec.exfiltration import ExfiltrationSpec
from mimir.units import NS_PER_S

LEAD_SHARE = 0.1  # of the recording stays free at its beginning: detectors that look back need a past
GAP_S = 300.0  # at least this between two incidents: detectors look back that far (evaluation.recovery_s)
TAIL_S = 120.0  # at least this after the last one: the windows that raise the alert must be complete
_PLAN, _DATA = 0x504C414E, 0x44415441  # keep the streams for schedule and data apart
_MS = 1_000_000


@dataclass(frozen=True, eq=False)
class Incident:
    """One leak: message `i` of `message_bytes[i]` stolen bytes leaves the store at `message_ns[i]`.

    `start_s` and `end_s` are UTC epoch seconds; message times lie in [start, end) and are sorted.
    """

    name: str
    start_s: float
    end_s: float
    channel: str
    technique: str
    path_class: str
    path: tuple[str, ...]
    message_ns: NDArray[np.int64]
    message_bytes: NDArray[np.int64]
    entropy: tuple[int, ...]

    @property
    def bytes_intended(self) -> int:
        """Stolen bytes the incident is to carry, framing not counted."""
        return int(self.message_bytes.sum())


def plan_incidents(
    spec: ExfiltrationSpec, start_s: float, duration_s: float, entropy: tuple[int, ...]
) -> list[Incident]:
    """Incidents of a recording that begins at `start_s`, in time order; the same entropy gives the same plan.

    The first tenth stays free, the free time left over is spread over the gaps uniformly (order statistics of uniform
    draws), incidents never overlap. Each carries exactly round(rate × duration) bytes. SpecError if they do not fit.
    """
    if spec.channel == "none":
        return []
    misfits = [problem for problem in (rate_problem(spec), fit_problem(spec, duration_s)) if problem]
    if misfits:
        raise SpecError(misfits)
    random = np.random.default_rng(np.random.SeedSequence((*entropy, _PLAN)))
    slack_s = duration_s * (1 - LEAD_SHARE) - _occupied_s(spec)
    shares = np.sort(random.random(spec.incidents))
    steps = np.arange(spec.incidents) * (spec.incident_duration_s + GAP_S)
    offsets_ms = np.floor((duration_s * LEAD_SHARE + shares * slack_s + steps) * 1000).astype(np.int64)
    whole = math.floor(start_s)
    base_ns = whole * NS_PER_S + round((start_s - whole) * NS_PER_S)
    return [
        _incident(spec, number, base_ns + int(offset) * _MS, entropy, random)
        for number, offset in enumerate(offsets_ms, 1)
    ]


def stolen_bytes(incident: Incident) -> Iterator[bytes]:
    """The data of each message in turn: pseudo-random, hence incompressible; depends on `incident.entropy` only."""
    generator = np.random.Generator(np.random.PCG64(np.random.SeedSequence(incident.entropy)))
    return (generator.bytes(int(count)) for count in incident.message_bytes)


def digest(chunks: Iterable[bytes]) -> str:
    """SHA-256 (hex) of all chunks, one after the other."""
    total = hashlib.sha256()
    for chunk in chunks:
        total.update(chunk)
    return total.hexdigest()


def incident_bytes(spec: ExfiltrationSpec) -> int:
    """Stolen bytes one incident carries: rate × duration, rounded to whole bytes."""
    return round(spec.rate_bytes_per_min * spec.incident_duration_s / 60)


def rate_problem(spec: ExfiltrationSpec) -> Problem | None:
    """What keeps the pacing from making sense, if anything."""
    where = f"set it in conf/exfiltration/{spec.name}.yaml or on the command line"
    positive = (
        "rate_bytes_per_min",
        "bytes_per_message",
        "incidents",
        "incident_duration_s",
    )
    for field in positive:
        value = getattr(spec, field)
        if not (value > 0 and math.isfinite(value)):
            return Problem(f"exfiltration.{field}", f"must be > 0 (got {value:g})", "> 0", where)
    if incident_bytes(spec) < 1:
        got = f"is less than one byte per incident ({spec.rate_bytes_per_min:g} B/min for {spec.incident_duration_s} s)"
        least = f"≥ {60 / spec.incident_duration_s:g} B/min, or longer incidents"
        return Problem("exfiltration.rate_bytes_per_min", got, least, where)
    return None


def fit_problem(spec: ExfiltrationSpec, duration_s: float) -> Problem | None:
    """What keeps the incidents from fitting into a recording of `duration_s`, if anything."""
    if spec.channel == "none":
        return None
    need_s = _occupied_s(spec) / (1 - LEAD_SHARE)
    if need_s <= duration_s:
        return None
    room_s = duration_s * (1 - LEAD_SHARE) - TAIL_S + GAP_S
    most = max(0, int(room_s // (spec.incident_duration_s + GAP_S)))
    count = f"{spec.incidents} × {spec.incident_duration_s} s, gaps of {GAP_S:g} s and a free first tenth"
    return Problem(
        "exfiltration.incidents",
        f"do not fit: {count} need {math.ceil(need_s)} s, the test recording has {duration_s:g} s",
        f"at most {most} incidents of this length",
        f"set evaluation.test_s={math.ceil(need_s)}, or fewer or shorter incidents",
    )


def _occupied_s(spec: ExfiltrationSpec) -> float:
    """Incidents, the gaps between them, and the tail."""
    return spec.incidents * (spec.incident_duration_s + GAP_S) - GAP_S + TAIL_S


def _incident(
    spec: ExfiltrationSpec, number: int, start_ns: int, entropy: tuple[int, ...], random: np.random.Generator
) -> Incident:
    duration_ns, total = spec.incident_duration_s * NS_PER_S, incident_bytes(spec)
    count = -(-total // spec.bytes_per_message)
    sizes = np.full(count, spec.bytes_per_message, dtype=np.int64)
    sizes[-1] = total - spec.bytes_per_message * (count - 1)
    interval_ns = duration_ns * spec.bytes_per_message / total
    slots = np.arange(count) * interval_ns
    if spec.pacing == "jitter":  # anywhere in its slot: the long-term rate stays, the rhythm goes
        slots += random.random(count) * np.minimum(interval_ns, duration_ns - slots)
    times = start_ns + np.minimum(np.floor(slots).astype(np.int64), duration_ns - 1)
    return Incident(
        name=f"{spec.name}-{number}",
        start_s=start_ns / NS_PER_S,
        end_s=(start_ns + duration_ns) / NS_PER_S,
        channel=spec.channel,
        technique=spec.technique,
        path_class=spec.path_class.value,
        path=tuple(spec.path),
        message_ns=times,
        message_bytes=sizes,
        entropy=(*entropy, _DATA, number),
    )
