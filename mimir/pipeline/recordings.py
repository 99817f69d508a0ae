"""Make the recordings and their edges, in worker processes where the cluster allows it, sharing them between runs."""

from __future__ import annotations

import math
import multiprocessing
import os
from collections.abc import Callable, Mapping
from concurrent.futures import FIRST_EXCEPTION, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass, replace
from pathlib import Path
from queue import Empty
from typing import Any

from mimir.cluster.base import Cluster, RecordingOrder
from mimir.cluster.baseline import Baseline, carrying_services
from mimir.cluster.synthetic import is_synthetic
from mimir.errors import RequirementError
from mimir.pipeline.baseline import baseline_of
from mimir.pipeline.cache import Result, cached, stage_key
from mimir.pipeline.clusters import create_cluster
from mimir.pipeline.fields import dissect_captures, fields_key
from mimir.pipeline.flow_records import flows_key, flows_of
from mimir.pipeline.injection import inject, injection_key
from mimir.pipeline.lifecycle import leave_with_parent
from mimir.pipeline.record_key import record_key
from mimir.pipeline.training import supervised, training_order, training_plain
from mimir.spec import Spec
from mimir.spec.build import from_plain
from mimir.units import DAY_S

RECORDINGS = ("fit", "calibrate", "test")
EPOCH_S = 1_767_225_600  # 2026-01-01T00:00:00Z: where the simulated clock starts
EDGE_ROOMS = ("capture", "flows", "files.py", "jit.py", "units.py")
Report = Callable[[str, float, int], None]  # recording, seconds done, packets


@dataclass(frozen=True)
class Recorded:
    """One recording and what was computed from it."""

    order: RecordingOrder
    record: Result
    edges: Result
    flows: Result | None = None  #: flow records, where `capture.flows` asks for them
    fields: Result | None = None  #: application fields, where `capture.dissector` asks for them


def orders(spec: Spec) -> list[RecordingOrder]:
    """The three orders on one time axis, each starting at midnight with at least a day's gap before the next."""
    start, result = EPOCH_S, []
    for number, name in enumerate(RECORDINGS):
        duration = spec.recording_s(name)
        result.append(RecordingOrder(name, start, duration, (spec.seed, number), name == "test", Path()))
        start += (duration // DAY_S + 2) * DAY_S
    return result


def planned(spec: Spec) -> list[RecordingOrder]:
    """All orders of a run: the training recording of a supervised detector comes before the three."""
    return [*([training_order(spec, EPOCH_S)] if supervised(spec) else []), *orders(spec)]


def record_all(spec: Spec, plain: dict[str, Any], cache: Path, workers: int, report: Report) -> list[Recorded]:
    """All recordings with edges, in order. Raises what the first failing one raised."""
    cluster = _ready(spec)
    if workers > 1 and cluster.parallel:
        return _side_by_side(spec, plain, cache, workers, report)
    shown = [record_training(plain, cache, workers, report)] if supervised(spec) else []
    return [*shown, *_one_by_one(spec, plain, cache, workers, report, cluster)]


def record_training(plain: Mapping[str, Any], cache: Path, workers: int, report: Report) -> Recorded:
    """The recording with labelled leaks of a supervised detector; `workers` for its edges."""
    own, order = _training(plain)
    spec = from_plain(own, check=False)
    with _ready(spec) as running:
        return record_one(spec, own, cache, order, report, running.record, workers)


def _training(plain: Mapping[str, Any]) -> tuple[dict[str, Any], RecordingOrder]:
    """The spec of the training recording as JSON values, and its order."""
    own = training_plain(plain)
    return own, training_order(from_plain(own, check=False), EPOCH_S)


def _side_by_side(spec: Spec, plain: dict[str, Any], cache: Path, workers: int, report: Report) -> list[Recorded]:
    """All at once; where the leak of the test depends on the edges of the fit recording, the test after all others."""
    shown = [_training(plain)] if supervised(spec) else []
    *benign, test = orders(spec)
    services = carrying_services(spec)
    tasks = [*shown, *((plain, order) for order in (benign if services else [*benign, test]))]
    done = _in_processes(tasks, cache, min(workers, len(tasks)), report)
    if services:
        last = replace(test, baseline=_baseline(spec, services, done[len(shown)]))
        done += _in_processes([(plain, last)], cache, 1, report)
    return done


def _one_by_one(
    spec: Spec, plain: dict[str, Any], cache: Path, workers: int, report: Report, cluster: Cluster
) -> list[Recorded]:
    *benign, test = orders(spec)
    services = carrying_services(spec)
    with cluster as running:
        done = [record_one(spec, plain, cache, order, report, running.record, workers) for order in benign]
        last = replace(test, baseline=_baseline(spec, services, done[0])) if services else test
        return [*done, record_one(spec, plain, cache, last, report, running.record, workers)]


def _ready(spec: Spec) -> Cluster:
    """The cluster; RequirementError where this machine does not have what it needs."""
    cluster = create_cluster(spec)
    unmet = [r for r in cluster.requirements() if not r.met]
    if unmet:
        raise RequirementError("\n".join(f"cluster={spec.cluster.name} needs {r.name}: {r.how_to_meet}" for r in unmet))
    return cluster


def _baseline(spec: Spec, services: tuple[str, str], fit: Recorded) -> Baseline:
    return baseline_of(
        spec, services, fit.order, fit.edges.folder / "edges.parquet", fit.record.folder / "timeline.jsonl"
    )


def all_recorded(spec: Spec, plain: Mapping[str, Any], cache: Path) -> bool:
    """Is every recording in the shared cache already?"""
    keys = [record_key(plain, order) for order in orders(spec)]
    keys += [training_key(plain)] if supervised(spec) else []
    return all((cache / f"record-{key}" / "stage.json").exists() for key in keys)


def training_key(plain: Mapping[str, Any]) -> str:
    """Key of the training recording: tests of several scenarios share it."""
    return record_key(*_training(plain))


def record_one(
    spec: Spec,
    plain: Mapping[str, Any],
    cache: Path,
    order: RecordingOrder,
    report: Report,
    record: Callable[..., Any],
    workers: int = 1,
) -> Recorded:
    """One recording with its edges, from the shared cache when it is there; `workers` for the edges."""

    def make_recording(folder: Path) -> dict[str, Any]:
        recording = record(replace(order, folder=folder), lambda seconds, packets: report(order.name, seconds, packets))
        facts = dict(recording.counts)
        if digest := facts.pop("sha256", None):  # of the one capture, computed while it was written
            facts["sha256"] = {f"capture/{recording.captures[0].name}": digest}
        return facts

    def make_edges(folder: Path) -> dict[str, Any]:
        from mimir.pipeline.analysis import edges_of

        return edges_of(spec, recorded.folder, folder, workers)

    def make_leaks(benign: Path) -> Callable[[Path], dict[str, Any]]:
        return lambda folder: inject(spec, order, recorded.folder, benign, folder)

    def make_flows(folder: Path) -> dict[str, Any]:
        named = edges.folder / "entities.jsonl"  # of a table of addresses
        return flows_of(spec, recorded.folder, named if named.exists() else recorded.folder / named.name, folder)

    def make_fields(folder: Path) -> dict[str, Any]:
        return dissect_captures(spec, recorded.folder, folder)

    key = record_key(plain, order)
    keep, fresh = spec.capture.keep, spec.reuse == "never"
    recorded = cached(cache, "record", key, make_recording, keep=keep, fresh=fresh)
    inputs = _numbered(recorded.files)
    captures = [recorded.folder / name for name in sorted(recorded.files) if name.startswith("capture/")]
    edge_key = _edge_key(spec, inputs)
    flow_key = flows_key(spec, inputs) if spec.capture.flows else None
    field_key = fields_key(spec, _digests(recorded.files), recorded.folder)
    keys = {"edges": edge_key, "flows": flow_key, "fields": field_key}
    wanted = [f"{stage}-{made}" for stage, made in keys.items() if made]
    if not all((cache / w / "stage.json").exists() for w in wanted) and not all(c.exists() for c in captures):
        recorded = cached(cache, "record", key, make_recording)  # an earlier run dropped the packets
    edges = cached(cache, "edges", edge_key, make_edges, fresh=fresh)
    if order.leaking and is_synthetic(spec):
        key = injection_key(plain, order, edges, recorded)
        edges = cached(cache, "synthetic", key, make_leaks(edges.folder), fresh=fresh)
    flows = cached(cache, "flows", flow_key, make_flows, fresh=fresh) if flow_key else None
    fields = cached(cache, "fields", field_key, make_fields, fresh=fresh) if field_key else None
    if not keep:
        for capture in captures:
            capture.unlink(missing_ok=True)
    report(order.name, math.inf, int(recorded.facts.get("packets", 0)))
    return Recorded(order, recorded, edges, flows, fields)


def _edge_key(spec: Spec, inputs: Mapping[str, str]) -> str:
    part = {
        "windows_s": spec.capture.windows_s,
        "timeout_s": spec.capture.connection_timeout_s,
        "reorder_ms": spec.capture.reorder_ms,
    }
    return stage_key("edges", EDGE_ROOMS, part, inputs)


def _digests(files: Mapping[str, str]) -> list[str]:
    """Of the captures, in their order."""
    return [digest for name, digest in sorted(files.items()) if name.startswith("capture/")]


def _numbered(files: Mapping[str, str]) -> dict[str, str]:
    """Digests of what edges are made from. Names do not count, nodes do: one capture may serve several recordings."""
    packets = [(name.split("/"), digest) for name, digest in sorted(files.items()) if name.startswith("capture/")]
    captures = [f"{parts[1]}/{digest}" if len(parts) > 2 else digest for parts, digest in packets]
    named = {name: files[name] for name in ("entities.jsonl", "addresses.txt") if name in files}
    return {f"capture {number}": digest for number, digest in enumerate(captures)} | named


def _in_processes(
    tasks: list[tuple[dict[str, Any], RecordingOrder]], cache: Path, workers: int, report: Report
) -> list[Recorded]:
    """The recordings side by side in fresh processes; results do not depend on how many."""
    context = multiprocessing.get_context("spawn")
    messages = context.Queue()
    pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_start_worker, initargs=(os.getpid(), messages))
    try:
        futures = [pool.submit(_work, plain, cache, order) for plain, order in tasks]
        _relay(futures, messages, report)
        return [future.result() for future in futures]
    except BaseException:
        for process in list((pool._processes or {}).values()):
            process.terminate()
        raise
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _relay(futures: list[Future[Recorded]], messages: Any, report: Report) -> None:
    """Hand progress messages of the workers on until all are done or one failed."""
    while True:
        done, pending = wait(futures, timeout=0.1, return_when=FIRST_EXCEPTION)
        try:
            while True:
                report(*messages.get_nowait())
        except Empty:
            pass
        if not pending or any(f.exception() for f in done):
            return


_messages: Any = None


def _start_worker(parent: int, messages: Any) -> None:
    global _messages
    _messages = messages
    leave_with_parent(parent)


def _work(plain: dict[str, Any], cache: Path, order: RecordingOrder) -> Recorded:
    spec = from_plain(plain, check=False)  # checked before anything was begun

    def report(name: str, seconds: float, packets: int) -> None:
        _messages.put((name, seconds, packets))

    with create_cluster(spec) as running:
        return record_one(spec, plain, cache, order, report, running.record)
