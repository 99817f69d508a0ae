"""Jobs that share their benign recordings, and how to make what they need."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mimir.cluster.baseline import carrying_services
from mimir.errors import MimirError, SpecError
from mimir.pipeline.baseline import baseline_of
from mimir.pipeline.clusters import create_cluster
from mimir.pipeline.record_key import record_key
from mimir.pipeline.recordings import Recorded, Report, orders, record_one, record_training, training_key
from mimir.pipeline.training import training_problems, training_spec
from mimir.spec import Spec
from mimir.spec.build import from_plain
from mimir.spec.detector import SUPERVISED


@dataclass(frozen=True)
class Job:
    """One test recording: the spec as JSON values (the detector in it does not matter) and the experiment it is of."""

    experiment: str
    plain: dict[str, Any]


@dataclass(frozen=True)
class World:
    """Jobs with the same fit and calibration recordings, and the detectors to try on them."""

    jobs: tuple[Job, ...]
    detectors: dict[str, dict[str, Any]]

    @property
    def name(self) -> str:
        """For progress lines: application, seed, jobs."""
        plain = self.jobs[0].plain
        return f"{plain['app']['name']} seed {plain['seed']}, {len(self.jobs)} test recordings"

    @property
    def supervised(self) -> list[str]:
        """Names of its detectors that learn from labelled leaks."""
        return sorted(SUPERVISED & {*self.detectors})

    def shown(self) -> dict[str, Any]:
        """The leaks its supervised detectors learn from: path, rates (B/min), channel."""
        plain = self.jobs[0].plain
        leak = training_spec(from_plain(plain)).exfiltration
        rates = sorted(leak.rates_bytes_per_min or [leak.rate_bytes_per_min])
        return {
            "app": plain["app"]["name"],
            "path": list(leak.path),
            "rates_bytes_per_min": rates,
            "channel": leak.channel,
        }


def worlds_of(grids: Iterable[tuple[str, Sequence[dict[str, Any]], Mapping[str, dict[str, Any]]]]) -> list[World]:
    """Group the jobs of several experiments by what is benign in them; detectors, their windows and the rules are part of it."""
    groups: dict[str, tuple[list[Job], dict[str, dict[str, Any]]]] = {}
    for experiment, jobs, detectors in grids:
        for plain in jobs:
            spec = from_plain(plain)
            if spec.cluster.name != "simulated":
                raise MimirError(f"a benchmark runs on cluster=simulated (got {spec.cluster.name} in {experiment})")
            benign = [record_key(plain, order) for order in orders(spec)[:2]]
            shown = [_training_key(plain, detectors[name]) for name in sorted(SUPERVISED & {*detectors})]
            key = json.dumps([*benign, *shown, detectors, plain["capture"], _judging(plain)], sort_keys=True)
            known = groups.setdefault(key, ([], dict(detectors)))[0]
            if all(job.plain != plain or job.experiment != experiment for job in known):
                known.append(Job(experiment, plain))
    return [World(tuple(jobs), detectors) for jobs, detectors in groups.values()]


def _judging(plain: Mapping[str, Any]) -> dict[str, Any]:
    """What of the rules decides results besides the length of the test."""
    lengths = ("test_s", "expect")
    return {
        "sensitive": plain["app"]["sensitive"],
        **{k: v for k, v in plain["evaluation"].items() if k not in lengths},
    }


def _training_key(plain: Mapping[str, Any], detector: Mapping[str, Any]) -> str:
    """Key of the training recording of a supervised detector; SpecError where it would be shown the leaks of a test."""
    if problems := training_problems(from_plain({**plain, "detector": detector})):
        raise SpecError(problems)
    return training_key(plain)


def record_world(world: World, cache: Path, report: Report) -> tuple[dict[str, Recorded], list[Recorded]]:
    """(fit, calibration and, for supervised detectors, training by name; one test recording a job), from the shared cache or
    made now, one after the other."""
    first = world.jobs[0].plain
    spec = from_plain(first)
    shown = {"train": record_training(first, cache, 1, report)} if world.supervised else {}
    benign = [_one(spec, first, cache, number, report) for number in (0, 1)]
    tests = []
    for job in world.jobs:
        spec = from_plain(job.plain)
        tests.append(_one(spec, job.plain, cache, 2, report, benign[0]))
    return dict(zip(("fit", "calibrate"), benign, strict=True)) | shown, tests


def _one(
    spec: Spec, plain: dict[str, Any], cache: Path, number: int, report: Report, fit: Recorded | None = None
) -> Recorded:
    order = orders(spec)[number]
    services = carrying_services(spec) if fit else None
    if services and fit:
        order = replace(
            order,
            baseline=baseline_of(
                spec, services, fit.order, fit.edges.folder / "edges.parquet", fit.record.folder / "timeline.jsonl"
            ),
        )
    with create_cluster(spec) as running:
        return record_one(spec, plain, cache, order, report, running.record)
