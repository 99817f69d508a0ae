"""The analysis stages: recordings → one run directory → graphs → scores → metrics."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from mimir.errors import MimirError, Problem
from mimir.files import read_json, read_jsonl, write_json, write_jsonl
from mimir.pipeline.cache import Result, link
from mimir.pipeline.fields import merge_fields
from mimir.pipeline.flow_records import NAME as FLOWS
from mimir.pipeline.flow_records import merge_flows
from mimir.pipeline.recordings import Recorded
from mimir.pipeline.run_directory import RunDirectory
from mimir.pipeline.training import supervised
from mimir.spec import Spec

STAGES = ("assemble", "graphs", "detect", "evaluate", "report")
LINES = ("entities.jsonl", "timeline.jsonl", "truth.jsonl")
DETECT_ROOMS = ("detectors", "flows", "graphs", "pipeline/detection.py", "pipeline/alert_stream.py", "spec")


def edges_of(spec: Spec, recording: Path, folder: Path, workers: int = 1) -> dict[str, Any]:
    """Edges of one recording, for the shared cache. `recording` has capture/ and entities.jsonl (or addresses.txt)."""
    from mimir.flows.foreign import flow_format

    entities = recording / "entities.jsonl"
    if (recording / "addresses.txt").exists():
        entities = folder / "entities.jsonl"
        write_jsonl(entities, _named_addresses(spec, recording))
    captures, edges = sorted((recording / "capture").iterdir()), folder / "edges.parquet"
    if captures and captures[0].is_dir():  # one subfolder per node
        captures = [recording / "capture"]
    if captures and captures[0].is_file() and flow_format(captures[0]):
        write_json(folder / "capture.json", _edges_of_flows(spec, captures, entities, folder))
        return {}
    from mimir.engine import create_engine
    from mimir.flows.build import build_edges

    how = spec.capture
    late_ns = round(how.reorder_ms * 1e6)
    alone = how.engine == "none" or (how.engine == "joblib" and workers < 2)
    engine = None if alone else create_engine(how.engine, max(workers, spec.workers))
    timeout_s = how.connection_timeout_s
    report = build_edges(captures, entities, how.windows_s, "", timeout_s, edges, late_ns, workers, engine)
    write_json(folder / "capture.json", report.to_json())
    return {}


def _edges_of_flows(spec: Spec, files: list[Path], entities: Path, folder: Path) -> dict[str, Any]:
    """The same for files with flow records of another tool; pods that these name become the entity log."""
    from mimir.flows.foreign import build_flow_edges

    report = build_flow_edges(files, entities, spec.capture.windows_s, "", folder / "edges.parquet")
    if report.entities:
        write_jsonl(folder / "entities.jsonl", report.entities)
    return report.to_json()


def _named_addresses(spec: Spec, recording: Path) -> list[dict[str, Any]]:
    """Entity events of a table of addresses, or of the research prototype's pickled log."""
    from mimir.flows.foreign import looks_pickled, read_entity_log
    from mimir.flows.identity import entity_events

    path = recording / "addresses.txt"
    if looks_pickled(path):
        return read_entity_log(path, float(read_json(recording / "start.json")["first_s"]))
    try:
        return entity_events(path)
    except ValueError as error:
        named = getattr(spec.cluster, "addresses", None) or getattr(spec.cluster, "entities", None) or path
        text = str(error).replace(str(path), str(named))
        raise MimirError(
            f"the table of addresses cannot be read: {text}; it needs a header line, e.g. address,name,kind,workload"
        ) from error


def assemble(spec: Spec, recorded: Sequence[Recorded], directory: RunDirectory) -> dict[str, str]:
    """Captures, logs and edges of the three recordings on one time axis; returns known digests of the captures.

    Each edge row gets the name of the recording whose time span it lies in.
    """
    known: dict[str, str] = {}
    for one in recorded:
        for name, digest in one.record.files.items():
            source = one.record.folder / name
            if name.startswith("capture/"):
                known[name] = digest
                if source.exists():
                    link(source, directory.path / name)
    keys = [one.record.folder.name for one in recorded] + [one.edges.folder.name for one in recorded]
    keys += [one.flows.folder.name for one in recorded if one.flows]
    directory.stage(
        "assemble",
        ("pipeline/analysis.py", "pipeline/flow_records.py", "flows"),
        keys,
        [],
        lambda: _assemble(recorded, directory.path),
    )
    dissected = {one.order.name: one.fields for one in recorded if one.fields}
    if dissected:
        folders, rooms = [one.folder.name for one in dissected.values()], ("pipeline/fields.py",)
        directory.stage("fields", rooms, folders, ["timeline.jsonl"], lambda: _fields(spec, dissected, directory.path))
    return {name: digest for name, digest in known.items() if (directory.path / name).exists()}


def _assemble(recorded: Sequence[Recorded], path: Path) -> list[str]:
    from mimir.flows.merge import merge_edges

    for name in LINES:
        rows = [row for one in recorded for row in _lines(one, name)]
        distinct = list({repr(row): row for row in rows}.values())  # one capture cut in three has one entity log
        write_jsonl(path / name, distinct)
    counts = {one.order.name: read_json(one.edges.folder / "capture.json") for one in recorded}
    for one in recorded:
        if one.flows:
            counts[one.order.name]["flow_records"] = one.flows.facts
        if "stores" in one.record.facts:  # which were real
            counts[one.order.name]["stores"] = one.record.facts["stores"]
    write_json(path / "capture.json", counts)
    spans = recording_spans(path)
    parts = {one.order.name: (one.edges.folder / "edges.parquet", *spans[one.order.name]) for one in recorded}
    merge_edges(parts, path / "edges.parquet")
    return [*LINES, "capture.json", "edges.parquet", *_merged_flows(recorded, spans, path)]


def _merged_flows(recorded: Sequence[Recorded], spans: Mapping[str, tuple[float, float]], path: Path) -> list[str]:
    """Flow records of all recordings in one file, where they were asked for."""
    made = [(one.order.name, one.flows.folder / FLOWS) for one in recorded if one.flows and FLOWS in one.flows.files]
    if not made:
        (path / FLOWS).unlink(missing_ok=True)
        return []
    merge_flows([(name, file, *spans[name]) for name, file in made], path / FLOWS)
    return [FLOWS]


def _fields(spec: Spec, dissected: Mapping[str, Result], path: Path) -> list[str]:
    spans = recording_spans(path)
    return merge_fields({name: (one, *spans[name]) for name, one in dissected.items()}, spec, path)


def _lines(one: Recorded, name: str) -> list[dict[str, Any]]:
    """Rows of a log; the entity log is the one the edges were named with (a table of addresses becomes one there)."""
    named = one.edges.folder / name
    return read_jsonl(named if named.exists() else one.record.folder / name)


def recording_spans(path: Path) -> dict[str, tuple[float, float]]:
    """Begin and end (UTC epoch s) of each recording, from timeline.jsonl."""
    spans: dict[str, dict[str, float]] = {}
    for row in read_jsonl(path / "timeline.jsonl"):
        if row["event"] in ("recording_started", "recording_ended"):
            spans.setdefault(row["recording"], {})[row["event"]] = float(row["ts"])
    return {name: (s["recording_started"], s["recording_ended"]) for name, s in spans.items()}


def stages(spec: Spec, plain: Mapping[str, Any], directory: RunDirectory, cache: Path) -> dict[str, Callable[[], None]]:
    """The stages after `assemble`, by the name shown to the user."""
    path = directory.path
    lengths = spec.detector.windows_s

    def graphs() -> None:
        part = {"window": lengths[0], "sensitive": spec.app.sensitive}
        inputs = ["edges.parquet", "entities.jsonl", "timeline.jsonl"]
        directory.stage("graphs", ("graphs", "flows"), part, inputs, lambda: _graphs(spec, path))

    def detect() -> None:
        from mimir.pipeline.detection import detect_all, pinned_digest, reads_messages

        part = {"detector": plain["detector"], "app": spec.app.sensitive, "budget": spec.evaluation.alerts_per_day}
        part |= pinned_digest(spec)
        inputs = ["edges.parquet", "entities.jsonl", "timeline.jsonl"]
        rooms: tuple[str, ...] = DETECT_ROOMS
        if supervised(spec):  # labels come from the ledger of the training recording
            part["recovery_s"], rooms = spec.evaluation.recovery_s, (*DETECT_ROOMS, "evaluation")
            inputs += ["truth.jsonl"]
        inputs += ["fields.parquet"] if reads_messages(spec, path) else []
        directory.stage("detect", rooms, part, inputs, lambda: detect_all(spec, directory, cache))

    def evaluate() -> None:
        part = {"evaluation": plain["evaluation"], "windows": lengths, "seed": spec.seed, "ledger": has_ledger(spec)}
        inputs = ["scores.parquet", "alerts.jsonl", "truth.jsonl"]
        inputs += [name for name in ("stream.parquet", "stream.jsonl") if (path / name).exists()]
        directory.stage("evaluate", ("evaluation", "exfiltration"), part, inputs, lambda: _evaluate(spec, path))

    return {
        "drawing the graphs": graphs,
        "fitting, calibrating, scoring": detect,
        "judging against the ledger": evaluate,
    }


def has_ledger(spec: Spec) -> bool:
    """False only for a recorded capture about which nobody wrote down what happened."""
    return spec.cluster.name != "recorded" or spec.cluster.truth is not None


def _graphs(spec: Spec, path: Path) -> list[str]:
    from mimir.graphs import write_graphs

    return write_graphs(path / "edges.parquet", path / "entities.jsonl", "test", spec.detector.windows_s[0],
                        spec.app.sensitive, path / "graphs")  # fmt: skip


def _evaluate(spec: Spec, path: Path) -> list[str]:
    import pandas as pd

    from mimir.evaluation import evaluate, evaluate_stream

    lengths = spec.detector.windows_s
    thresholds = {w: read_json(path / "detector" / f"w{w}" / "threshold.json") for w in lengths}
    truth = read_jsonl(path / "truth.jsonl") if has_ledger(spec) else None
    scores = pd.read_parquet(path / "scores.parquet")
    edges = max(t["edges"] for t in thresholds.values())
    alerts = read_jsonl(path / "alerts.jsonl")
    metrics = evaluate(scores, alerts, truth, spec.evaluation, lengths[0], spec.seed, thresholds, edges)
    if (path / "stream.parquet").exists():
        stream, raised = pd.read_parquet(path / "stream.parquet"), read_jsonl(path / "stream.jsonl")
        threshold = read_json(path / "detector" / "stream.json")
        metrics["stream"] = evaluate_stream(stream, raised, truth, spec.evaluation, spec.seed, threshold)
    write_json(path / "metrics.json", metrics)
    return ["metrics.json"]


def expectation_problems(spec: Spec) -> list[Problem]:
    """What is wrong with `evaluation.expect`, before anything runs."""
    if not spec.evaluation.expect:
        return []
    from mimir.evaluation import expectation_problems as problems

    return problems(spec.evaluation.expect, spec.detector.windows_s)


def missed_expectations(spec: Spec, metrics: Mapping[str, Any]) -> list[Problem]:
    """Expectations that the metrics do not meet."""
    if not spec.evaluation.expect:
        return []
    from mimir.evaluation import check_expectations

    return check_expectations(spec.evaluation.expect, metrics)


def objective(metrics: Mapping[str, Any]) -> float:
    """Event recall at the alert budget; NaN where it is not defined."""
    overall = metrics["windows"][str(metrics["primary_window_s"])]["overall"]
    value = overall["event_recall"]["value"]
    return math.nan if value is None else float(value)
