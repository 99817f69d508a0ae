"""Fit, calibrate, freeze, and only then open the test recording."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mimir.errors import MimirError, Problem, SpecError
from mimir.files import atomic, read_json, read_jsonl, sha256, write_json, write_jsonl
from mimir.flows.edges import EdgeSeries
from mimir.flows.identity import load_identity, read_workloads
from mimir.flows.messages import with_messages
from mimir.flows.series import load_series
from mimir.pipeline.alert_stream import Judged, filter_of, write_stream
from mimir.pipeline.run_directory import RunDirectory
from mimir.pipeline.training import TRAIN, labels_of
from mimir.spec import Spec

if TYPE_CHECKING:
    import pandas as pd

    from mimir.detectors.base import Detector, Scores
    from mimir.detectors.calibration import Calibration, Threshold

MIN_WINDOWS = 5
MAX_WINDOWS = 2_000_000  # 60 s windows of almost four years; a capture with a wild clock would ask for more


def detect_all(spec: Spec, directory: RunDirectory, cache: Path) -> list[str]:
    """Score calibration and test recordings at every window length; returns the files written."""
    import pandas as pd

    path = directory.path
    tables: list[pd.DataFrame] = []
    alerts: list[dict[str, Any]] = []
    written: list[str] = []
    judged: dict[int, Judged] = {}
    frozen = {w: _freeze(spec, path, w) for w in spec.detector.windows_s}
    _note_opening(directory, cache, {str(w): asdict(f[2]) for w, f in frozen.items()})
    for window_s, (detector, calibration, threshold, benign) in frozen.items():
        series = recording_series(spec, path, "test", window_s)
        scores = detector.score(series)
        judged[window_s] = Judged(detector, series, benign, scores)
        tables += [_rows(benign, calibration, threshold, "calibrate"), _rows(scores, calibration, threshold, "test")]
        from mimir.detectors.alerts import build_alerts
        from mimir.detectors.base import Mapped

        alerts += build_alerts(detector, series, scores, calibration, threshold, spec.evaluation.alerts_per_day)
        folder = path / "detector" / f"w{window_s}"
        write_json(folder / "threshold.json", asdict(threshold) | {"edges": len(series.edges)})
        written += [f"detector/w{window_s}/{name}" for name in ("state.json", "state.npz", "threshold.json")]
        if isinstance(detector, Mapped):
            written.append(f"detector/w{window_s}/blind_spots.json")
    identity = load_identity(path / "entities.jsonl")
    written += write_stream(path, judged, spec.evaluation.alerts_per_day, identity)
    alerts = [alert | {"display_filter": filter_of(alert, identity)} for alert in alerts]
    table = pd.concat(tables, ignore_index=True)
    with atomic(path / "scores.parquet") as temporary:
        table.to_parquet(temporary, index=False)
    write_jsonl(path / "alerts.jsonl", sorted(alerts, key=lambda a: (a["ts"], a["window_s"])))
    return ["scores.parquet", "alerts.jsonl", *written]


def detector_problems(spec: Spec) -> list[Problem]:
    """What keeps the detector from being made at all: an absent package, arguments it does not have, an unreadable table."""
    from mimir.detectors.registry import create

    try:
        check = getattr(create(spec.detector), "check", None)
        if check:
            check()
    except SpecError as error:
        return list(error.problems)
    except MimirError as error:
        return [Problem("detector", f"cannot be made: {error}")]
    return []


def pinned_digest(spec: Spec) -> dict[str, str]:
    """{"pinned": SHA-256} of the table a person edited for the detector; {} without one. Another table, other results."""
    pinned = getattr(spec.detector, "pinned", None)
    return {"pinned": sha256(Path(pinned))} if pinned else {}


def recording_series(spec: Spec, path: Path, recording: str, window_s: int) -> EdgeSeries:
    """The windows of one recording that lie wholly inside it. Raises MimirError when there are too few."""
    from mimir.pipeline.analysis import recording_spans

    start, end = recording_spans(path)[recording]
    first = math.ceil(start / window_s) * window_s
    windows = int((end - first) // window_s)
    if windows < MIN_WINDOWS:
        raise MimirError(
            f"recording {recording} holds {max(windows, 0)} whole windows of {window_s} s, at least {MIN_WINDOWS} are needed; "
            f"choose shorter windows (capture.windows_s=[1] detector.windows_s=[1]) or a longer recording"
        )
    if windows > MAX_WINDOWS:
        raise MimirError(
            f"recording {recording} spans {end - start:.0f} s, {windows} windows of {window_s} s, at most {MAX_WINDOWS} can be "
            f"scored; is its clock right? Choose longer windows or cut the capture (editcap -A … -B …)"
        )
    series = load_series(
        path / "edges.parquet", recording, window_s, first, windows,
        workloads=read_workloads(path / "entities.jsonl"), sensitive=frozenset(spec.app.sensitive),
    )  # fmt: skip
    fields = path / "fields.parquet"
    return with_messages(series, fields, path / "entities.jsonl", recording) if reads_messages(spec, path) else series


def reads_messages(spec: Spec, path: Path) -> bool:
    """Does the detector read application fields, and are there any?"""
    from mimir.detectors.registry import READS_MESSAGES

    return spec.detector.name in READS_MESSAGES and (path / "fields.parquet").exists()


def _freeze(spec: Spec, path: Path, window_s: int) -> tuple[Detector, Calibration, Threshold, Scores]:
    """Fit on `fit` (a supervised detector on `train` too), calibrate on `calibrate`, store both, and hand back the detector as loaded from the store."""
    from mimir.detectors.base import Mapped, Supervised
    from mimir.detectors.calibration import Calibration
    from mimir.detectors.combination import calibration_scores
    from mimir.detectors.registry import create, load_detector, save_state

    folder = path / "detector" / f"w{window_s}"
    fitted = create(spec.detector).fit(recording_series(spec, path, "fit", window_s))
    if isinstance(fitted, Supervised):
        shown = recording_series(spec, path, TRAIN, window_s)
        fitted.learn(shown, labels_of(spec, read_jsonl(path / "truth.jsonl"), shown.window_start, window_s))
    save_state(fitted, folder)
    detector = load_detector(folder)
    series = recording_series(spec, path, "calibrate", window_s)
    benign = calibration_scores(detector, series)
    save_state(detector, folder)
    calibration = Calibration(benign.score, window_s)
    threshold = calibration.threshold(spec.evaluation.alerts_per_day)
    write_json(folder / "threshold.json", asdict(threshold))
    (folder / "blind_spots.json").unlink(missing_ok=True)
    if isinstance(detector, Mapped):
        write_json(folder / "blind_spots.json", detector.blind_spots(series, threshold.value))
    return detector, calibration, threshold, benign


def _rows(scores: Scores, calibration: Calibration, threshold: Threshold, recording: str) -> pd.DataFrame:
    import pandas as pd

    return pd.DataFrame(
        {
            "window_s": scores.window_s,
            "window_start": scores.window_start,
            "recording": recording,
            "score": scores.score,
            "p_value": calibration.p_values(scores.score),
            "threshold": threshold.value,
            "alert": scores.score > threshold.value,
        }
    )


def _note_opening(directory: RunDirectory, cache: Path, thresholds: Mapping[str, Any]) -> None:
    """Record under which thresholds a test recording was judged: a second one is no longer pre-registered.

    Every opening of the same edges by the same detector state is an entry of a book in the shared cache; status.json says
    how many other thresholds came before (`earlier_thresholds`).
    """
    path = directory.path
    states = {w: sha256(path / "detector" / f"w{w}" / "state.json") for w in thresholds}
    book = cache / "openings" / f"{sha256(path / 'edges.parquet')[:20]}.json"
    known: list[dict[str, Any]] = read_json(book) if book.exists() else []
    entry = {"states": states, "thresholds": dict(thresholds)}
    earlier = [k for k in known if k["states"] == states and k != entry]
    if entry not in known:
        write_json(book, [*known, entry])
    directory.update(earlier_thresholds=len(earlier))
