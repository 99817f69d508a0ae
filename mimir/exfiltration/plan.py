"""When what leaks: incidents placed in a recording, their messages, the synthetic data they carry. Pure, seeded."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from mimir.errors import Problem, SpecError
from mimir.exfiltration.baseline import Baseline, fitted
from mimir.exfiltration.pacing import EVEN, LEAST_NIGHT, Activity, Floats, times_ns, weights
from mimir.exfiltration.paths import branches, resolved_paths, variants
from mimir.spec.exfiltration import ExfiltrationSpec
from mimir.units import NS_PER_S

LEAD_SHARE = 0.1  # of the recording stays free at its beginning: detectors that look back need a past
_TRIES = 1000  # schedules drawn until every night incident has some night
_PLAN, _DATA, _RATES = 0x504C414E, 0x44415441, 0x52415445  # keep the streams for schedule, data and rates apart
_MS = 1_000_000


@dataclass(frozen=True, eq=False)
class World:
    """What a plan may depend on beyond the scenario: the allowed edges, the load, the benign fit recording."""

    edges: Collection[tuple[str, str]] = ()
    activity: Activity | None = None
    baseline: Baseline | None = None


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
    by_pod: bool = False  #: hops between pods use the pods' own addresses
    branches: tuple[tuple[str, ...], ...] = ()  #: paths that messages take in turn, where there are several at once

    @property
    def bytes_intended(self) -> int:
        """Stolen bytes the incident is to carry, framing not counted."""
        return int(self.message_bytes.sum())


def plan_incidents(
    spec: ExfiltrationSpec, start_s: float, duration_s: float, entropy: tuple[int, ...], world: World | None = None
) -> list[Incident]:
    """Incidents of a recording that begins at `start_s`, in time order; the same entropy gives the same plan.

    The first tenth stays free, the free time left over is spread over the gaps uniformly (order statistics of uniform
    draws), incidents never overlap. Each carries exactly round(rate × duration) bytes. SpecError if they do not fit.
    """
    if spec.channel == "none":
        return []
    world = world or World()
    spec = fitted(spec, world.baseline)
    misfits = [problem for problem in (rate_problem(spec), fit_problem(spec, duration_s)) if problem]
    if misfits:
        raise SpecError(misfits)
    random = np.random.default_rng(np.random.SeedSequence((*entropy, _PLAN)))
    turns = variants(spec, resolved_paths(spec, world.edges))
    offsets_ms = _offsets_ms(spec, duration_s, world, random)
    whole = math.floor(start_s)
    base_ns = whole * NS_PER_S + round((start_s - whole) * NS_PER_S)
    rates = _rates(spec, entropy)
    return [
        _incident(
            replace(spec, rate_bytes_per_min=rates[number - 1]),
            turns[(number - 1) % len(turns)],
            (number, int(offset), base_ns),
            entropy,
            random,
            world,
        )
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


def _rates(spec: ExfiltrationSpec, entropy: tuple[int, ...]) -> list[float]:
    """Rate of every incident (B/min): one for all, or the listed ones in turn, shuffled."""
    if not spec.rates_bytes_per_min:
        return [spec.rate_bytes_per_min] * spec.incidents
    listed = spec.rates_bytes_per_min
    in_turn = np.array([listed[i % len(listed)] for i in range(spec.incidents)])
    return [float(r) for r in np.random.default_rng(np.random.SeedSequence((*entropy, _RATES))).permutation(in_turn)]


def rate_problem(spec: ExfiltrationSpec) -> Problem | None:
    """What keeps the pacing from making sense, if anything."""
    hint = f"set it in conf/exfiltration/{spec.name}.yaml or on the command line"
    positive = (
        "rate_bytes_per_min",
        "bytes_per_message",
        "incidents",
        "incident_duration_s",
    )
    for field in positive:
        value = getattr(spec, field)
        if not (value > 0 and math.isfinite(value)):
            return Problem(f"exfiltration.{field}", f"must be > 0 (got {value:g})", "> 0", hint)
    if wrong := _rates_problem(spec, hint):
        return wrong
    if incident_bytes(spec) < 1:
        got = f"is less than one byte per incident ({spec.rate_bytes_per_min:g} B/min for {spec.incident_duration_s} s)"
        least = f"≥ {60 / spec.incident_duration_s:g} B/min, or longer incidents"
        return Problem("exfiltration.rate_bytes_per_min", got, least, hint)
    return None


def _rates_problem(spec: ExfiltrationSpec, hint: str) -> Problem | None:
    """What is wrong with a list of rates, if there is one."""
    rates, where = spec.rates_bytes_per_min, "exfiltration.rates_bytes_per_min"
    if rates is None:
        return None
    if not rates or not all(rate * spec.incident_duration_s >= 60 and math.isfinite(rate) for rate in rates):
        least = f"at least one rate, each ≥ {60 / spec.incident_duration_s:g} B/min, or null"
        return Problem(where, f"must be a list of rates that carry a byte (got {rates})", least, hint)
    if spec.rate_share_of_edge is not None or spec.pacing == "adaptive":
        return Problem(where, "cannot stand beside rates relative to benign traffic", "null", hint)
    return None


def fit_problem(spec: ExfiltrationSpec, duration_s: float) -> Problem | None:
    """What keeps the incidents from fitting into a recording of `duration_s`, if anything."""
    if spec.channel == "none":
        return None
    need_s = _occupied_s(spec) / (1 - LEAD_SHARE)
    if need_s <= duration_s:
        return None
    room_s = duration_s * (1 - LEAD_SHARE) - spec.tail_s + spec.gap_s
    most = max(0, int(room_s // (spec.incident_duration_s + spec.gap_s)))
    count = f"{spec.incidents} × {spec.incident_duration_s} s, gaps of {spec.gap_s:g} s and a free first tenth"
    return Problem(
        "exfiltration.incidents",
        f"do not fit: {count} need {math.ceil(need_s)} s, the test recording has {duration_s:g} s",
        f"at most {most} incidents of this length",
        f"set evaluation.test_s={math.ceil(need_s)}, or fewer or shorter incidents",
    )


def _occupied_s(spec: ExfiltrationSpec) -> float:
    """Incidents, the gaps between them, and the tail."""
    return spec.incidents * (spec.incident_duration_s + spec.gap_s) - spec.gap_s + spec.tail_s


def _offsets_ms(
    spec: ExfiltrationSpec, duration_s: float, world: World, random: np.random.Generator
) -> NDArray[np.int64]:
    """When incidents begin, in ms after the recording; at night each has a share of night. SpecError if none does."""
    slack_s = duration_s * (1 - LEAD_SHARE) - _occupied_s(spec)
    steps = np.arange(spec.incidents) * (spec.incident_duration_s + spec.gap_s)
    for _ in range(_TRIES if spec.pacing == "night" else 1):
        shares = np.sort(random.random(spec.incidents))
        offsets_ms: NDArray[np.int64] = np.floor((duration_s * LEAD_SHARE + shares * slack_s + steps) * 1000).astype(
            np.int64
        )
        if spec.pacing != "night":
            return offsets_ms
        if all(_weight(spec, int(at), world, random).mean() >= LEAST_NIGHT for at in offsets_ms):
            return offsets_ms
    text = f"night finds no place for {spec.incidents} × {spec.incident_duration_s} s in low hours"
    hint = "a longer evaluation.test_s, fewer or longer incidents, or a larger exfiltration.shape.night_users_share"
    raise SpecError([Problem("exfiltration.pacing", text, "a load with low hours in the test recording", hint)])


def _weight(spec: ExfiltrationSpec, offset_ms: int, world: World, random: np.random.Generator) -> Floats:
    return weights(spec.pacing, spec.shape, spec.incident_duration_s, offset_ms / 1000, world.activity, random)


def _incident(
    spec: ExfiltrationSpec,
    variant: tuple[tuple[str, ...], bool],
    place: tuple[int, int, int],
    entropy: tuple[int, ...],
    random: np.random.Generator,
    world: World,
) -> Incident:
    """`variant` is the path and whether hops use pod addresses.

    `place` is the number of the incident, its offset (ms) and the begin of the recording (ns).
    """
    number, offset_ms, base_ns = place
    start_ns = base_ns + offset_ms * _MS
    duration_ns, total = spec.incident_duration_s * NS_PER_S, incident_bytes(spec)
    count = -(-total // spec.bytes_per_message)
    sizes = np.full(count, spec.bytes_per_message, dtype=np.int64)
    sizes[-1] = total - spec.bytes_per_message * (count - 1)
    interval_ns = duration_ns * spec.bytes_per_message / total
    slots = np.arange(count) * interval_ns
    if spec.pacing == "jitter":  # anywhere in its slot: the long-term rate stays, the rhythm goes
        slots += random.random(count) * np.minimum(interval_ns, duration_ns - slots)
    times = start_ns + np.minimum(np.floor(slots).astype(np.int64), duration_ns - 1)
    if spec.pacing not in EVEN:
        weight = _weight(spec, offset_ms, world, random)
        times = start_ns + times_ns(weight, count, spec.incident_duration_s, random)
    return Incident(
        name=f"{spec.name}-{number}",
        start_s=start_ns / NS_PER_S,
        end_s=(start_ns + duration_ns) / NS_PER_S,
        channel=spec.channel,
        technique=spec.technique,
        path_class=spec.path_class.value,
        path=variant[0],
        message_ns=times,
        message_bytes=sizes,
        entropy=(*entropy, _DATA, number),
        by_pod=variant[1],
        branches=branches(spec, variant[0], world.edges),
    )
