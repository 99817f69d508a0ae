"""`python -m mimir.pipeline.benchmark EXPERIMENT… [key=value…]`: every detector on every recording of some experiments.

`EXPERIMENT:key=value` changes one of them alone: `benchmark_rates benchmark_mix seed=range(1,11) benchmark_mix:seed=1,2,3`.
Recordings and edges are shared with runs and with each other in `<runs>/.cache`; so are the tables, one per detector and
world. The result is one tidy table, <out>/results.parquet, and a page with figures made from it.
"""

from __future__ import annotations

import argparse
import shlex
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mimir.errors import EXIT_DONE, EXIT_FAILED, EXIT_SPEC, SpecError
from mimir.files import write_json
from mimir.pipeline.benchmark.execute import compute_all
from mimir.pipeline.benchmark.worlds import World, worlds_of
from mimir.pipeline.lifecycle import interruptible
from mimir.pipeline.run_directory import environment
from mimir.pipeline.scoped import check_scopes, overrides_of
from mimir.spec.grid import expand
from mimir.units import format_duration


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit code: 0 done, 1 something failed (the rest is complete), 2 the experiments are wrong."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    parser = argparse.ArgumentParser(prog="python -m mimir.pipeline.benchmark", description=__doc__)
    parser.add_argument(
        "words", nargs="+", metavar="EXPERIMENT|key=value|EXPERIMENT:key=value",
        help="names in conf/experiment, overrides for all of them, overrides for one of them",
    )  # fmt: skip
    parser.add_argument("--out", type=Path, default=Path("runs/benchmark"), help="folder of table, page and figures")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="folder whose .cache holds the recordings")
    parser.add_argument("--workers", type=int, default=2, help="processes; never changes a result")
    options = parser.parse_intermixed_args(given)
    experiments = [word for word in options.words if "=" not in word]
    overrides = [word for word in options.words if "=" in word]
    if not experiments:
        parser.error("name at least one experiment, e.g. benchmark_rates")
    began = time.perf_counter()
    try:
        check_scopes(experiments, overrides)
        grids = [expand(name, overrides_of(name, overrides)) for name in experiments]
        worlds = worlds_of([(g.experiment, g.jobs, g.detectors) for g in grids])
    except SpecError as error:
        print(error, file=sys.stderr)
        return EXIT_SPEC
    tests = sum(len(world.jobs) for world in worlds)
    detectors = {name for world in worlds for name in world.detectors}
    _say(f"{len(worlds)} worlds, {tests} test recordings, {len(detectors)} detectors")
    with interruptible():
        tables, failures, seconds = compute_all(worlds, (options.runs / ".cache").absolute(), options.workers, _say)
    if not tables:
        _say("nothing could be computed")
        return EXIT_FAILED
    facts = {
        "command": shlex.join(["python", "-m", "mimir.pipeline.benchmark", *given]),
        "seconds": {"whole": round(time.perf_counter() - began, 1)} | seconds,
        "failures": failures,
        "supervised": _shown(worlds),
        "environment": environment(),  # before the results are written among versioned files
    }
    _publish(tables, facts, options.out)
    return EXIT_FAILED if failures else EXIT_DONE


def _shown(worlds: Sequence[World]) -> dict[str, list[dict[str, Any]]]:
    """Supervised detectors and what leaks they were shown, each once."""
    told: dict[str, list[dict[str, Any]]] = {}
    for world in worlds:
        for name in world.supervised:
            shown = world.shown()
            if shown not in told.setdefault(name, []):
                told[name].append(shown)
    return told


def _publish(tables: Sequence[Path], facts: dict[str, Any], out: Path) -> None:
    """results.parquet in a fixed order, facts.json, and the page."""
    import pandas as pd

    from mimir.files import atomic
    from mimir.report.benchmark import write_page

    table = pd.concat([pd.read_parquet(path) for path in tables], ignore_index=True)
    with atomic(out / "results.parquet") as temporary:
        table.to_parquet(temporary, index=False)
    write_json(out / "facts.json", facts)
    page = write_page(out)
    took = facts["seconds"]
    _say(f"{len(table):,} rows in {format_duration(took['whole'])} "
         f"(recording {format_duration(took['recording'])}, detectors {format_duration(took['arithmetic'])}, added over processes)")  # fmt: skip
    print(page)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
