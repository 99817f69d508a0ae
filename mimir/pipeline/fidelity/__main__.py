"""`python -m mimir.pipeline.fidelity [APP…] [key=value…]`: the same spec simulated and run for real, compared edge by edge.

Records what is missing (real recordings all at once, each as long as load.duration_s says), measures all of it, and writes
tables, two pages and figures. Recordings are shared with runs through <runs>/.cache.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mimir.errors import EXIT_DONE, MimirError
from mimir.files import atomic, write_json
from mimir.pipeline.fidelity.cases import DETECTORS, Case, cases, record_cases
from mimir.pipeline.fidelity.measuring import measured
from mimir.pipeline.lifecycle import interruptible
from mimir.pipeline.recordings import Recorded

APPS = ("sockshop", "hipsterstore", "wordpress")


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
            tables = measured(wanted, recorded, cache, options.workers, _say)
    except MimirError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    words = " ".join(f"'{word}'" if "[" in word else word for word in options.words)
    command = f'make fidelity ARGS="{words}"' if words else "make fidelity"
    _publish(tables, _facts(wanted, recorded, command) | {"note": options.note}, options.out)
    return EXIT_DONE


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
