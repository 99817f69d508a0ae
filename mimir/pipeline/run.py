"""`run(spec)`: the stages of one experiment, in order, into one run directory."""

from __future__ import annotations

import sys
import time
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mimir.cluster.base import RecordingOrder
from mimir.cluster.registry import create_cluster
from mimir.engine import engine_problems
from mimir.errors import EXIT_DONE, EXIT_EXPECTATION, EXIT_FAILED, ExpectationError, MimirError, Problem, SpecError
from mimir.files import read_json, to_json, write_json, write_text
from mimir.pipeline import analysis, tracked
from mimir.pipeline.cache import code_version
from mimir.pipeline.clusters import blind_detector
from mimir.pipeline.detection import detector_problems, pinned_digest
from mimir.pipeline.fields import field_problems
from mimir.pipeline.job import Outcome
from mimir.pipeline.lifecycle import exclusive
from mimir.pipeline.progress import Progress
from mimir.pipeline.recordings import Recorded, all_recorded, planned, record_all
from mimir.pipeline.run_directory import RunDirectory, environment
from mimir.pipeline.training import TRAIN, training_problems, training_spec
from mimir.spec import Spec
from mimir.spec.signature import signature
from mimir.spec.validate import validate
from mimir.units import format_duration

if TYPE_CHECKING:
    from mimir.spec.compose import JobContext


def run(spec: Spec, plain: dict[str, Any], context: JobContext) -> Outcome:
    """Run one experiment. `plain` is the spec as JSON values.

    Raises SpecError before anything is created; any other error is recorded in status.json, logged, and raised again.
    """
    problems = [*validate(spec), *create_cluster(spec).problems(), *analysis.expectation_problems(spec)]
    problems += [*blind_detector(spec), *detector_problems(spec), *field_problems(spec)]
    problems += engine_problems(spec.capture.engine)
    problems = problems or training_problems(spec)
    problems = problems or _misfits(spec)
    if problems:
        raise SpecError(problems)
    path = run_path(spec, plain)
    plan = make_plan(spec, path)
    if spec.dry_run:
        print(to_json(plan, indent=2))
        return Outcome(EXIT_DONE)
    if spec.reuse == "require" and not (path / "status.json").exists():
        raise MimirError(f"reuse=require, but there is no run {path}; run it once with reuse=auto")
    with exclusive(path):
        directory = RunDirectory(path)
        unchanged = directory.status.get("pinned") == pinned_digest(spec).get("pinned")
        if spec.reuse != "never" and directory.finished(code_version()) and unchanged:
            print(f"reused: {path} (same spec, same code; reuse=never repeats it)", file=sys.stderr)
            return _conclude(spec, directory, context, fresh=False)
        if spec.reuse == "require":
            raise MimirError(
                f"reuse=require, but {path} is {directory.status['state']} or made by other code; use reuse=auto"
            )
        if spec.reuse == "never":
            directory.forget_stages()
        _attempt(spec, plain, plan, directory, context)
        return _conclude(spec, directory, context, fresh=True)


def _misfits(spec: Spec) -> list[Problem]:
    """Incidents and triggers that find no place. On a real cluster the clock decides when a recording begins, and with it when it is night."""
    by_clock = spec.exfiltration.pacing == "night" and spec.exfiltration.channel != "none"
    if spec.cluster.name == "recorded" or (spec.cluster.name == "netns" and by_clock):
        return []
    from mimir.cluster.simulated.triggers import schedule_problems

    return [
        problem
        for order in planned(spec)
        for problem in schedule_problems(training_spec(spec) if order.name == TRAIN else spec, order)
    ]


def run_path(spec: Spec, plain: dict[str, Any]) -> Path:
    """The run directory a spec belongs to."""
    name = f"{spec.app.name}-{spec.exfiltration.name}-{spec.detector.name}-s{spec.seed}-{signature(plain)}"
    return Path(spec.paths.runs).absolute() / name


def make_plan(spec: Spec, path: Path) -> dict[str, Any]:
    """What would happen: recordings, windows, what the cluster would create."""
    names = [order.name for order in planned(spec)]
    created = create_cluster(spec).plan(spec)
    if "real_time_s" in created:
        created["real_time_s"] = sum(order.duration_s for order in planned(spec))  # training recording included
    return {
        "run_directory": str(path),
        "recordings": [_planned(spec, order) for order in planned(spec)],
        "stages": [
            *(f"record:{n}" for n in names),
            *(f"edges:{n}" for n in names),
            *(f"fields:{n}" for n in names if spec.capture.dissector != "none"),
            *analysis.STAGES,
            "track",
        ],
        "cluster": created,
    }


def _planned(spec: Spec, order: RecordingOrder) -> dict[str, Any]:
    """A recording before it is made; how long a capture lasts that already exists is only known once it is read."""
    leak = training_spec(spec).exfiltration if order.name == TRAIN else spec.exfiltration
    told: dict[str, Any] = {"name": order.name, "leaking": order.leaking and leak.channel != "none"}
    if order.name == TRAIN:
        told |= {"path": leak.path, "rates_bytes_per_min": leak.rates_bytes_per_min or [leak.rate_bytes_per_min]}
    if spec.cluster.name == "recorded":
        return told
    if spec.cluster.name == "netns":  # real time: it starts when it starts
        return told | {"duration_s": order.duration_s}
    return told | {"start": order.start_s, "duration_s": order.duration_s}


def _attempt(
    spec: Spec, plain: dict[str, Any], plan: dict[str, Any], directory: RunDirectory, context: JobContext
) -> None:
    """All stages; on any failure the directory says so, the tracker is told, and the error goes on."""
    began = time.perf_counter()
    directory.update(
        state="running", stage=None, stages={}, error=None, exit_code=None, code=code_version(),
        command=context.command, signature=signature(plain), pinned=pinned_digest(spec).get("pinned"),
    )  # fmt: skip
    try:
        write_text(directory.path / "spec.yaml", _yaml(plain))
        write_json(directory.path / "plan.json", plan)
        write_json(directory.path / "environment.json", environment())
        _stages(spec, plain, directory, context)
        directory.update(state="done", exit_code=EXIT_DONE, seconds=round(time.perf_counter() - began, 3))
    except BaseException as error:
        text = str(error) if isinstance(error, MimirError) else "".join(traceback.format_exception(error))
        if isinstance(error, KeyboardInterrupt):
            text = "interrupted"
        directory.update(state="failed", error=text, exit_code=getattr(error, "exit_code", EXIT_FAILED))
        error.run_directory = str(directory.path)  # type: ignore[attr-defined]
        if not isinstance(error, KeyboardInterrupt):
            tracked.log(spec, directory, context)
        raise


def _stages(spec: Spec, plain: dict[str, Any], directory: RunDirectory, context: JobContext) -> None:
    cache = Path(spec.paths.cache).absolute()
    workers = 1 if context.sweep_folder else spec.workers
    known = spec.cluster.name != "recorded"
    durations = {o.name: float(o.duration_s) if known else None for o in planned(spec)}
    with Progress(spec.verbosity, durations) as progress:
        progress.say(f"run {directory.path.name}: {spec.app.name} on {spec.cluster.name}, {spec.exfiltration.name}")
        if not all_recorded(spec, plain, cache):
            progress.say(
                "recording, and reducing packets to edges (the first run compiles its kernels: a minute, once)"
            )
        recorded = record_all(spec, plain, cache, workers, progress.recording)
        for one in recorded:
            directory.note(f"record:{one.order.name}", one.record.seconds, one.record.reused)
            directory.note(f"edges:{one.order.name}", one.edges.seconds, one.edges.reused)
            if one.fields:
                directory.note(f"fields:{one.order.name}", one.fields.seconds, one.fields.reused)
        digests = analysis.assemble(spec, recorded, directory)
        for name, stage in analysis.stages(spec, plain, directory, cache).items():
            progress.say(name)
            stage()
        directory.write_manifest(digests)
        _report(directory)
        directory.write_manifest(digests)
        _say_totals(progress, recorded, directory.path)


def _captured(recorded: Recorded) -> tuple[str, ...]:
    return tuple(digest for name, digest in sorted(recorded.record.files.items()) if name.startswith("capture/"))


def _say_totals(progress: Progress, recorded: list[Recorded], path: Path) -> None:
    distinct = {_captured(r): r for r in recorded}.values()  # one capture may serve several recordings
    packets = sum(int(r.record.facts.get("packets", 0)) for r in distinct)
    reused = sum(r.record.reused for r in recorded)
    traffic = format_duration(sum(end - start for start, end in analysis.recording_spans(path).values()))
    progress.say(f"{packets:,} packets, {traffic} of traffic ({reused} of {len(recorded)} recordings reused)")


def _report(directory: RunDirectory) -> None:
    from mimir.report import build_report

    began = time.perf_counter()
    directory.update(stage="report")
    build_report(directory.path)
    directory.note("report", time.perf_counter() - began, False)


def _conclude(spec: Spec, directory: RunDirectory, context: JobContext, fresh: bool) -> Outcome:
    """Track, print the result, and check what the spec expects of it."""
    from mimir.report import terminal_summary

    tracking_line = tracked.log(spec, directory, context)
    if spec.verbosity != "quiet":
        print(terminal_summary(directory.path))
        if tracking_line:
            print(tracking_line)
    metrics = read_json(directory.path / "metrics.json")
    misses = analysis.missed_expectations(spec, metrics)
    exit_code = EXIT_EXPECTATION if misses else EXIT_DONE
    if fresh or directory.status["exit_code"] != exit_code:
        directory.update(exit_code=exit_code)
    outcome = Outcome(exit_code, str(directory.path), None, analysis.objective(metrics))
    if misses:
        error = ExpectationError("expectations missed:\n" + "\n".join(f"  {m}" for m in misses))
        print(error, file=sys.stderr)
        return Outcome(exit_code, outcome.run_directory, str(error), outcome.objective)
    return outcome


def _yaml(plain: dict[str, Any]) -> str:
    import yaml

    text: str = yaml.safe_dump(plain, sort_keys=True, allow_unicode=True)
    return text
