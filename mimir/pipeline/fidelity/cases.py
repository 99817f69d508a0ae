"""What is recorded for a comparison, and how: every recording in a process of its own, shared through the cache."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from mimir.errors import MimirError, Problem, RequirementError, SpecError
from mimir.files import read_jsonl
from mimir.pipeline.clusters import create_cluster
from mimir.pipeline.detection import detector_problems
from mimir.pipeline.lifecycle import workers_of
from mimir.pipeline.record_key import record_key
from mimir.pipeline.recordings import Recorded, orders, record_one
from mimir.pipeline.scoped import check_scopes, overrides_of
from mimir.spec import Spec
from mimir.spec.build import from_plain, to_dict
from mimir.spec.compose import composed
from mimir.spec.detector import SUPERVISED
from mimir.spec.grid import expand
from mimir.spec.validate import validate

EXPERIMENT = "fidelity"
#: overrides that make a cluster what it is here; real programs in place of the model's services would be another comparison
CLUSTERS = {
    "netns": ("cluster=netns", "cluster.parallel=true", "cluster.real_stores=false"),
    "simulated": ("cluster=simulated",),
}
QUIET = "quiet"  #: the test recording again, without a leak
BENIGN = ("fit", "calibrate", QUIET)
NAMES = ("fit", "calibrate", "test", QUIET)
DETECTORS = ("invariants", "allowlist", "pca_spe", "cusum", "egress_volume", "random")


@dataclass(frozen=True)
class Case:
    """One application on one cluster: the spec with the leak and the one without, and other detectors, as JSON values."""

    app: str
    cluster: str
    leaking: dict[str, Any]
    quiet: dict[str, Any]
    detectors: dict[str, dict[str, Any]] = field(default_factory=dict)

    def plain(self, name: str) -> dict[str, Any]:
        """The spec that a recording belongs to."""
        return self.quiet if name == QUIET else self.leaking

    @property
    def spec(self) -> Spec:
        """The spec with the leak."""
        return from_plain(self.leaking)


def cases(apps: Sequence[str], overrides: Sequence[str], detectors: Sequence[str] = ()) -> list[Case]:
    """Every application on both clusters with all detectors, checked. SpecError or MimirError when something does not fit."""
    check_scopes(apps, overrides)
    found = []
    for app in apps:
        parts = _detectors(app, detectors, overrides) if detectors else {}
        found += [_case(app, cluster, overrides, parts) for cluster in CLUSTERS]
    return found


def _detectors(app: str, names: Sequence[str], overrides: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Detectors as conf/detector has them, on the windows this application is judged in."""
    windows = [word for word in overrides_of(app, overrides) if word.startswith("detector.windows_s=")]
    return expand(EXPERIMENT, [f"app={app}", f"detector={','.join(names)}", *windows]).detectors


def _case(app: str, cluster: str, overrides: Sequence[str], detectors: dict[str, dict[str, Any]]) -> Case:
    words = [f"experiment={EXPERIMENT}", f"app={app}", *CLUSTERS[cluster], *overrides_of(app, overrides)]
    words = [
        word for word in words if cluster == "netns" or not word.startswith("cluster.")
    ]  # the simulated one has other keys
    specs = composed(words), composed([*words, "exfiltration=none"])
    problems: list[Problem] = []
    for spec in specs:
        problems += [*validate(spec), *create_cluster(spec).problems(), *detector_problems(spec)]
    if specs[0].detector.name in SUPERVISED:
        name = specs[0].detector.name
        problems.append(Problem("detector", f"{name} learns from labelled leaks, and no such recording is made here", "any that learns from benign traffic"))  # fmt: skip
    if problems:
        raise SpecError(problems)
    leaking, quiet = (to_dict(spec) for spec in specs)
    every = {**detectors, specs[0].detector.name: leaking["detector"]}
    for part in detectors.values():
        other = from_plain({**leaking, "detector": part})
        problems += detector_problems(other)
    if problems:
        raise SpecError(problems)
    return Case(app, cluster, leaking, quiet, every)


def record_cases(
    wanted: Sequence[Case], cache: Path, workers: int, say: Callable[[str], None]
) -> dict[tuple[str, str], dict[str, Recorded]]:
    """(application, cluster) → recording by name, from the cache or made now.

    Real recordings last as long as they last and mostly wait: all that are missing run at once, each in a testbed of its
    own. Simulated ones take turns, `workers` at a time.
    """
    for case in wanted:
        unmet = [r for r in create_cluster(case.spec).requirements() if not r.met]
        if unmet:
            raise RequirementError("\n".join(f"cluster={case.cluster} needs {r.name}: {r.how_to_meet}" for r in unmet))
    found: dict[tuple[str, str], dict[str, Recorded]] = {}
    for cluster in CLUSTERS:
        tasks = [(case, name) for case in wanted if case.cluster == cluster for name in NAMES]
        missing = sum(not _there(case, name, cache) for case, name in tasks)
        say(f"{cluster}: {len(tasks)} recordings, {missing} of them to be made")
        at_once = max(workers, missing) if cluster == "netns" else workers
        for (case, name), recorded in _in_processes(tasks, cache, max(1, min(at_once, len(tasks))), say):
            found.setdefault((case.app, case.cluster), {})[name] = recorded
    return {key: {name: of[name] for name in NAMES} for key, of in found.items()}


def _there(case: Case, name: str, cache: Path) -> bool:
    return (cache / f"record-{key_of(case, name)}" / "stage.json").exists()


def _order(spec: Spec, name: str) -> Any:
    return next(order for order in orders(spec) if order.name == ("test" if name == QUIET else name))


def _in_processes(
    tasks: Sequence[tuple[Case, str]], cache: Path, workers: int, say: Callable[[str], None]
) -> list[tuple[tuple[Case, str], Recorded]]:
    done, failures = [], []
    with workers_of(workers) as pool:
        waiting = {pool.submit(_record, case.plain(name), name, cache): (case, name) for case, name in tasks}
        for future in as_completed(waiting):
            case, name = waiting[future]
            try:
                done.append(((case, name), future.result()))
                packets = int(done[-1][1].record.facts["packets"])
                say(f"{case.cluster} {case.app} {name}: {packets:,} packets")
            except (MimirError, BrokenProcessPool) as error:
                told = error if isinstance(error, MimirError) else "its process died (out of memory?), or one beside it"
                failures.append(f"{case.cluster} {case.app} {name}: {told}")
                say(f"failed: {failures[-1]}")
    if failures:
        raise MimirError("\n".join(failures))
    return done


def _record(plain: dict[str, Any], name: str, cache: Path) -> Recorded:
    spec = from_plain(plain)
    order = _order(spec, name)
    with create_cluster(spec) as running:
        made = record_one(spec, plain, cache, order, lambda *_: None, running.record)
    return replace(made, order=replace(order, start_s=started_s(made), name=name))


def started_s(recorded: Recorded) -> int:
    """When the recording really began (UTC epoch seconds): at a whole window of every length."""
    events = read_jsonl(recorded.record.folder / "timeline.jsonl")
    return round(next(float(row["ts"]) for row in events if row["event"] == "recording_started"))


def key_of(case: Case, name: str) -> str:
    """The name of a recording in the cache."""
    plain = case.plain(name)
    return record_key(plain, _order(from_plain(plain), name))
