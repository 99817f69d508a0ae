"""The recording with labelled leaks that supervised detectors learn from: what it is, and what may be wrong with it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mimir.cluster.base import RecordingOrder
from mimir.cluster.baseline import carrying_services
from mimir.errors import Problem
from mimir.evaluation.training import overlap_problems, training_path, window_labels
from mimir.pipeline.clusters import create_cluster
from mimir.spec import Spec
from mimir.spec.build import from_plain, to_dict
from mimir.spec.detector import SUPERVISED
from mimir.units import DAY_S

TRAIN = "train"
NUMBER = 3  #: of the recording, for its seed: fit, calibrate and test have 0, 1 and 2


def supervised(spec: Spec) -> bool:
    """Does the detector learn from labelled leaks?"""
    return spec.detector.name in SUPERVISED


def training_spec(spec: Spec) -> Spec:
    """The spec of the training recording: that of the run, with the training leaks in place of those of the test."""
    leak, load, evaluation = spec.evaluation.train, spec.load, spec.evaluation
    if not leak.path and leak.paths is None:
        leak = replace(leak, path=list(training_path(spec)))
    usual = {key: None for key in ("users", "sessions_per_min", "mix")}
    return replace(
        spec, exfiltration=leak, load=replace(load, test=replace(load.test, **usual)),
        evaluation=replace(evaluation, test_s=evaluation.train_s),
    )  # fmt: skip


def training_plain(plain: Mapping[str, Any]) -> dict[str, Any]:
    """The same as JSON values."""
    return to_dict(training_spec(from_plain(plain, check=False)))


def training_order(spec: Spec, first_s: int) -> RecordingOrder:
    """The order of the training recording: at midnight, with at least a day's gap before `first_s`, when the others begin."""
    duration = spec.recording_s(TRAIN)
    return RecordingOrder(TRAIN, first_s - (duration // DAY_S + 2) * DAY_S, duration, (spec.seed, NUMBER), True, Path())


def training_problems(spec: Spec) -> list[Problem]:
    """Why a supervised detector cannot be trained as the spec says; [] for all others."""
    if not supervised(spec):
        return []
    if spec.cluster.name == "recorded":
        return [Problem(
            "detector", f"{spec.detector.name} learns from labelled leaks, and cluster=recorded has no recording of such",
            "cluster=simulated, netns", "choose one of those, or a detector that learns from benign traffic, e.g. detector=invariants",
        )]  # fmt: skip
    shown = training_spec(spec)
    leak = shown.exfiltration
    if leak.channel == "none":
        return [Problem("evaluation.train.channel", f"is none, and {spec.detector.name} learns from leaks", "any other channel",
                        "choose a scenario: exfiltration@evaluation.train=relay_chain")]  # fmt: skip
    if not leak.path and leak.paths is None:
        return [Problem("evaluation.train.path", f"is empty, and {spec.app.name} allows no way out that the test or a scenario does not use",
                        "services, store first, outside last", "name one: evaluation.train.path=[…]")]  # fmt: skip
    if carrying_services(shown):
        return [Problem("evaluation.train", "depends on the benign traffic of the fit recording, which comes later",
                        "a rate in B/min, a pacing other than adaptive")]  # fmt: skip
    found = [_of_training(problem) for problem in create_cluster(shown).problems()]
    return [*found, *overlap_problems(spec, leak)]


def _of_training(problem: Problem) -> Problem:
    """The same problem under the keys of the training leaks."""
    return replace(
        problem, where=problem.where.replace("exfiltration", "evaluation.train", 1), next="set it in conf/evaluation or on the command line"
    )  # fmt: skip


def labels_of(spec: Spec, rows: list[dict[str, Any]], starts: NDArray[np.int64], window_s: int) -> NDArray[np.int8]:
    """(T,) labels of the windows of the training recording, from rows of its ledger."""
    return window_labels(rows, TRAIN, starts, window_s, spec.evaluation.recovery_s)
