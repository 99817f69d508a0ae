"""Fit, calibrate and score one detector on one world, and judge every test recording of it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from mimir.detectors.base import Supervised
from mimir.detectors.calibration import Calibration
from mimir.detectors.combination import calibration_scores
from mimir.detectors.registry import create
from mimir.evaluation.cells import Row
from mimir.files import read_jsonl
from mimir.flows.edges import EdgeSeries
from mimir.pipeline.benchmark.worlds import World
from mimir.pipeline.cache import Result, cached, stage_key
from mimir.pipeline.judging import judged, series_of
from mimir.pipeline.recordings import Recorded
from mimir.pipeline.training import TRAIN, labels_of
from mimir.spec import Spec
from mimir.spec.build import from_plain
from mimir.spec.detector import SUPERVISED

#: alerts a day a threshold is set for; those that need more windows a day than there are stay out
BUDGETS = (1 / 7, 1 / 2, 1.0, 2.0, 5.0, 10.0, 24.0)
ROOMS = (
    "detectors", "evaluation", "exfiltration/ledger.py", "flows", "graphs", "pipeline/benchmark", "pipeline/judging.py",
    "pipeline/training.py", "spec",
)  # fmt: skip
TABLE = "results.parquet"


@dataclass
class Loaded:
    """Edges of a world by recording and window length, read once for all detectors."""

    spec: Spec
    recorded: Mapping[str, Recorded]
    _known: dict[tuple[str, int], EdgeSeries] = field(default_factory=dict)

    def series(self, name: str, window_s: int) -> EdgeSeries:
        """Windows of one recording, all of them whole: recordings begin at midnight."""
        key = (name, window_s)
        if key not in self._known:
            self._known[key] = series_of(self.recorded[name], self.spec.app.sensitive, window_s)
        return self._known[key]


def results_of(world: World, name: str, loaded: Loaded, cache: Path) -> Result:
    """The table of one detector on one world, from the shared cache when nothing it depends on changed."""
    part = {
        "detector": world.detectors[name],
        "labels": [labels(job.experiment, job.plain) for job in world.jobs],
        "sensitive": loaded.spec.app.sensitive,
        "recovery_s": [loaded.spec.evaluation.recovery_s, loaded.spec.evaluation.trigger_recovery_s],
        "budgets": BUDGETS,
    }
    used = {n: one for n, one in loaded.recorded.items() if n != TRAIN or name in SUPERVISED}
    inputs = {f"{n} {f}": d for n, one in used.items() for f, d in one.edges.files.items()}
    inputs |= {f"{n} truth": one.record.files["truth.jsonl"] for n, one in used.items()}

    def make(folder: Path) -> dict[str, Any]:
        _table(world, name, loaded).to_parquet(folder / TABLE, index=False)
        return {}

    return cached(cache, "benchmark", stage_key("benchmark", ROOMS, part, inputs), make)


def labels(experiment: str, plain: Mapping[str, Any]) -> dict[str, Any]:
    """What tells the test recordings of a benchmark apart, as columns of its table."""
    load, leak, users = plain["load"], plain["exfiltration"], plain["app"]["users"]
    mixes = users.get("mixes") or {}
    trained, tested = (_mix(m, mixes, users["mix"]) for m in (load["mix"], load["test"]["mix"] or load["mix"]))
    return {
        "experiment": experiment,
        "app": plain["app"]["name"],
        "exfiltration": leak["name"],
        "pacing": leak["pacing"],
        "sigmas": float(leak["shape"]["sigmas"]) if leak["pacing"] == "adaptive" else 0.0,
        "seed": plain["seed"],
        "users": float(load["users"]),
        "test_users": float(load["test"]["users"] or load["users"]),
        "mix_distance": math.dist(
            *([m.get(name, 0.0) for name in sorted({*trained, *tested})] for m in (trained, tested))
        ),
        "triggers": "+".join(load["triggers"]),
    }


def _mix(mix: Any, mixes: Mapping[str, Mapping[str, float]], usual: Mapping[str, float]) -> Mapping[str, float]:
    return mixes[mix] if isinstance(mix, str) else mix or usual


def _table(world: World, name: str, loaded: Loaded) -> pd.DataFrame:
    rows: list[Row] = []
    lengths = world.detectors[name]["windows_s"]
    spec = from_plain(dict(world.jobs[0].plain) | {"detector": world.detectors[name]})
    for window_s in lengths:
        detector = create(spec.detector).fit(loaded.series("fit", window_s))
        if isinstance(detector, Supervised):
            shown, ledger = loaded.series(TRAIN, window_s), loaded.recorded[TRAIN].record.folder / "truth.jsonl"
            detector.learn(shown, labels_of(spec, read_jsonl(ledger), shown.window_start, window_s))
        benign = calibration_scores(detector, loaded.series("calibrate", window_s))
        calibration = Calibration(benign.score, window_s)
        for number, job in enumerate(world.jobs):
            head = labels(job.experiment, job.plain) | {"detector": name, "window_s": window_s}
            incident_s = float(job.plain["exfiltration"]["incident_duration_s"])
            test = f"test {number}"
            made = judged(
                detector, calibration, loaded.series(test, window_s), loaded.recorded[test], spec.evaluation, incident_s, BUDGETS
            )  # fmt: skip
            rows += [head | row for row in made]
    return pd.DataFrame(rows)
