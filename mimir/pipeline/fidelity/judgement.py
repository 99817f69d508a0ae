"""Recordings of one case → residuals of I3 on held-out benign traffic, and what detectors made of leak and quiet."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from mimir.detectors.calibration import Calibration
from mimir.detectors.combination import calibration_scores
from mimir.detectors.invariants.targets import BYTES, OWN, Counts, residuals_of
from mimir.detectors.invariants.volume import Volume
from mimir.detectors.registry import create
from mimir.evaluation.cells import Row
from mimir.pipeline.fidelity.cases import QUIET
from mimir.pipeline.judging import judged, series_of
from mimir.pipeline.recordings import Recorded
from mimir.spec import Spec

MEMORY = (1, 5, 15)


def residuals(spec: Spec, recorded: Mapping[str, Recorded], window_s: int, lags: int, ridge: float) -> pd.DataFrame:
    """Bytes of each edge as I3 expects them from its own requests: learned on fit, judged on calibrate.

    Columns client, server, server_port, proto, counter, window, observed, expected.
    """
    fit, held = (series_of(recorded[name], spec.app.sensitive, window_s) for name in ("fit", "calibrate"))
    volume = Volume(lags, ridge, MEMORY).fit(fit)
    found = residuals_of(volume.invariants, Counts(held, volume.keys, volume.dns, volume.presence))
    parts = []
    for m, invariant in enumerate(volume.invariants):
        if invariant.target.kind == OWN and invariant.target.counter in BYTES:
            key = volume.keys[invariant.target.edge]
            values = {"observed": found.observed[:, m], "expected": found.expected[:, m]}
            head = {**key._asdict(), "counter": invariant.target.counter}
            parts.append(pd.DataFrame({"window": np.arange(len(held)), **values}).assign(**head))
    return pd.concat(parts, ignore_index=True)


def verdicts(spec: Spec, recorded: Mapping[str, Recorded]) -> list[Row]:
    """Rows of `mimir.evaluation.cells` with detector, window_s and recording (test: with the leak; quiet: without)."""
    rows: list[Row] = []
    sensitive, incident_s = spec.app.sensitive, float(spec.exfiltration.incident_duration_s)
    for window_s in spec.detector.windows_s:
        detector = create(spec.detector).fit(series_of(recorded["fit"], sensitive, window_s))
        benign = calibration_scores(detector, series_of(recorded["calibrate"], sensitive, window_s))
        calibration = Calibration(benign.score, window_s)
        for name in ("test", QUIET):
            series = series_of(recorded[name], sensitive, window_s)
            head = {"detector": spec.detector.name, "window_s": window_s, "recording": name}
            made = judged(detector, calibration, series, recorded[name], spec.evaluation, incident_s)
            rows += [head | row for row in made]
    return rows
