"""`python -m mimir.pipeline.fidelity [APP…] [key=value…]`: the same spec simulated and run for real, compared edge by edge.

Records what is missing (real recordings all at once, each as long as load.duration_s says), measures all of it, and writes
tables, two pages and figures. Recordings are shared with runs through <runs>/.cache.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

from mimir.errors import EXIT_DONE, MimirError
from mimir.files import atomic, write_json
from mimir.pipeline.cache import Result, cached, stage_key
from mimir.pipeline.fidelity.cases import BENIGN, DETECTORS, Case, cases, record_cases
from mimir.pipeline.lifecycle import interruptible, workers_of
from mimir.pipeline.recordings import Recorded

APPS = ("sockshop", "hipsterstore", "wordpress")
PACKET_ROOMS = ("capture", "flows", "pipeline/fidelity/packets.py")
VERDICT_ROOMS = (
    "detectors", "evaluation", "exfiltration/ledger.py", "flows", "graphs", "spec", "pipeline/fidelity/judgement.py", "pipeline/judging.py",
)  # fmt: skip
TABLES = ("blocks", "sizes", "lengths", "residuals", "verdicts")


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit code: 0 done, 1 a recording failed, 2 the spec is wrong."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    parser = argparse.ArgumentParser(prog="python -m mimir.pipeline.fidelity", description=__doc__)
    parser.add_argument(
        "words", nargs="*", metavar="APP|key=value|APP:key=value", help=f"applications ({', '.join(APPS)}), overrides"
    )
    parser.add_argument("--out", type=Path, default=Path("docs/results/fidelity"), help="folder of the tables and figures; pages go beside it")  # fmt: skip
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="folder whose .cache holds the recordings")
    parser.add_argument("--workers", type=int, default=1, help="processes for simulations and measurements; never changes a result")  # fmt: skip
    parser.add_argument("--note", default="", help="a sentence for the pages, e.g. on the machine")
    options = parser.parse_intermixed_args(given)
    overrides = [word for word in options.words if "=" in word]
    apps = [word for word in options.words if "=" not in word] or list(APPS)
    cache = (options.runs / ".cache").absolute()
    try:
        wanted = cases(apps, overrides, DETECTORS)  # everything is checked before anything is recorded
        with interruptible():
            recorded = record_cases(wanted, cache, options.workers, _say)
            tables = _measured(wanted, recorded, cache, options.workers)
    except MimirError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    words = " ".join(f"'{word}'" if "[" in word else word for word in options.words)
    command = f'make fidelity ARGS="{words}"' if words else "make fidelity"
    _publish(tables, _facts(wanted, recorded, command) | {"note": options.note}, options.out)
    return EXIT_DONE


def _measured(
    wanted: Sequence[Case],
    recorded: Mapping[tuple[str, str], Mapping[str, Recorded]],
    cache: Path,
    workers: int,
) -> dict[str, list[Path]]:
    """Files of each table, in a fixed order."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    tables: dict[str, list[Path]] = {name: [] for name in TABLES}
    with workers_of(workers) as pool:
        futures: list[tuple[tuple[str, ...], str, Any]] = []
        for case in wanted:
            of = recorded[case.app, case.cluster]
            futures += [(("blocks", "sizes", "lengths"), f"{name}", pool.submit(_packets, case, name, of[name], cache)) for name in BENIGN]  # fmt: skip
            futures.append((("residuals",), case.app, pool.submit(_residuals, case, of, cache)))
            futures += [(("verdicts",), name, pool.submit(_verdicts, case, name, of, cache)) for name in case.detectors]  # fmt: skip
        for number, (names, what, future) in enumerate(futures, 1):
            try:
                folder = future.result().folder
            except BrokenProcessPool:
                raise MimirError(f"measuring {', '.join(names)} ({what}): its process died (out of memory?)") from None
            _say(f"measured {number} of {len(futures)}: {', '.join(names)} ({what})")
            for name in names:
                tables[name].append(folder / f"{name}.parquet")
    return tables


def _packets(case: Case, name: str, recorded: Recorded, cache: Path) -> Result:
    from mimir.pipeline.fidelity.packets import blocks_of, packets_of

    how, spec = case.spec.capture, case.spec
    window_s, block_s = spec.detector.windows_s[0], spec.evaluation.block_s
    head = {"app": case.app, "cluster": case.cluster, "recording": name}
    part = [head, window_s, block_s, how.connection_timeout_s, how.reorder_ms]

    def make(folder: Path) -> dict[str, Any]:
        sizes, lengths = packets_of(recorded, how.connection_timeout_s, how.reorder_ms)
        for table, frame in (
            ("blocks", blocks_of(recorded, window_s, block_s)),
            ("sizes", sizes),
            ("lengths", lengths),
        ):
            frame.assign(**head).to_parquet(folder / f"{table}.parquet", index=False)
        return {}

    inputs = {f"record {n}": d for n, d in recorded.record.files.items()}
    inputs |= {f"edges {n}": d for n, d in recorded.edges.files.items()}
    return cached(cache, "fidelity", stage_key("packets", PACKET_ROOMS, part, inputs), make)


def _inputs(recorded: Mapping[str, Recorded]) -> dict[str, str]:
    inputs = {f"{n} {f}": d for n, one in recorded.items() for f, d in one.edges.files.items()}
    return inputs | {f"{n} truth": one.record.files["truth.jsonl"] for n, one in recorded.items()}


def _residuals(case: Case, recorded: Mapping[str, Recorded], cache: Path) -> Result:
    from mimir.pipeline.fidelity.judgement import residuals

    spec, own = case.spec, case.leaking["detector"]
    head = {"app": case.app, "cluster": case.cluster}

    def make(folder: Path) -> dict[str, Any]:
        table = residuals(spec, recorded, spec.detector.windows_s[0], own["lags"], own["ridge"])
        table.assign(**head).to_parquet(folder / "residuals.parquet", index=False)
        return {}

    key = stage_key("residuals", VERDICT_ROOMS, [head, own, case.leaking["app"]["sensitive"]], _inputs(recorded))
    return cached(cache, "fidelity", key, make)


def _verdicts(case: Case, detector: str, recorded: Mapping[str, Recorded], cache: Path) -> Result:
    import pandas as pd

    from mimir.pipeline.fidelity.judgement import verdicts

    plain = case.leaking | {"detector": case.detectors[detector]}
    head = {"app": case.app, "cluster": case.cluster}

    def make(folder: Path) -> dict[str, Any]:
        from mimir.spec.build import from_plain

        rows = pd.DataFrame(verdicts(from_plain(plain), recorded))
        rows.assign(**head).to_parquet(folder / "verdicts.parquet", index=False)
        return {}

    part = [head, plain["detector"], plain["evaluation"], plain["app"]["sensitive"], plain["exfiltration"]]
    return cached(cache, "fidelity", stage_key("verdicts", VERDICT_ROOMS, part, _inputs(recorded)), make)


def _facts(
    wanted: Sequence[Case], recorded: Mapping[tuple[str, str], Mapping[str, Recorded]], command: str
) -> dict[str, Any]:
    from mimir.pipeline.run_directory import environment

    rows = []
    for case in wanted:
        for name, one in recorded[case.app, case.cluster].items():
            counts = {key: one.record.facts.get(key) for key in ("packets", "dropped", "pods", "requests")}
            rows.append({"app": case.app, "cluster": case.cluster, "recording": name, "start_s": one.order.start_s,
                         "duration_s": one.order.duration_s, **counts})  # fmt: skip
    plain = wanted[0].leaking
    kept = {key: plain[key] for key in ("load", "exfiltration", "evaluation", "seed")}
    kept["incident_s"] = {c.app: c.leaking["exfiltration"]["incident_duration_s"] for c in wanted}
    kept["paths"] = {c.app: c.leaking["exfiltration"]["path"] for c in wanted}
    return {"command": command, "environment": environment(), "recordings": rows, "spec": kept}


def _publish(tables: Mapping[str, Sequence[Path]], facts: dict[str, Any], out: Path) -> None:
    """One file a table, facts.json, the pages."""
    import pandas as pd

    from mimir.report.fidelity import write_pages

    for name, paths in tables.items():
        table = pd.concat([pd.read_parquet(path) for path in paths], ignore_index=True)
        with atomic(out / f"{name}.parquet") as temporary:
            table.to_parquet(temporary, index=False)
    write_json(out / "facts.json", facts)
    for page in write_pages(out):
        print(page)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
