"""`python -m mimir.pipeline.benchmark.byte_matrix TABLE.csv`: detectors on metered bytes of a real application.

Leave one run out: a detector is fitted on the benign samples of all other runs, and its threshold comes from those samples
too, each scored by a fit that did not see its run (cross-conformal; Vovk 2015). Samples that hold a theft, and the first
half minute of a run, are in neither. Nothing of the run that is judged is looked at before.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mimir.detectors.calibration import Calibration
from mimir.detectors.registry import create
from mimir.errors import EXIT_DONE, EXIT_SPEC, MimirError
from mimir.files import atomic, write_json
from mimir.flows.foreign.byte_matrix import ByteMatrix, MeteredRun, read_byte_matrix
from mimir.spec.build import from_plain
from mimir.spec.grid import expand
from mimir.units import DAY_S

THEFTS_S = (200.0, 205.0, 300.0, 310.0, 315.0)  #: of the Sock Shop table, s after a run began
SEEN_AFTER_S = 3.0  #: a theft is in the first sample that ends so much later
ARRIVAL_S = 30.0  #: users still arrive
LEVELS = (0.01, 0.002)  #: false-positive rates asked for


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m mimir.pipeline.benchmark.byte_matrix", description=__doc__)
    parser.add_argument("table", type=Path, help="CSV of metered bytes")
    parser.add_argument(
        "--detectors",
        default="glob(*,exclude=[pyod,http_fingerprint,mimir_lasso,dns_information])",
        help="names of conf/detector as a sweep",
    )
    parser.add_argument("--out", type=Path, default=Path("runs/byte_matrix"), help="folder of table and page")
    options = parser.parse_args(arguments)
    try:
        matrix = read_byte_matrix(options.table, ("load-test",), ("172.17.0.1",), _inflated(options.table), ("user",))
        grid = expand("benchmark_quick", ["app=sockshop", "seed=1", f"detector={options.detectors}"])
        windows = [_windows(matrix, name, part, grid.jobs[0]) for name, part in grid.detectors.items()]
    except (MimirError, OSError) as error:
        print(error, file=sys.stderr)
        return EXIT_SPEC
    from mimir.pipeline.run_directory import environment
    from mimir.report.benchmark.byte_matrix import write_page

    with atomic(options.out / "windows.parquet") as temporary:
        pd.concat(windows, ignore_index=True).to_parquet(temporary, index=False)
    command = f"python -m mimir.pipeline.benchmark.byte_matrix {options.table.name} --out {options.out}"
    write_json(options.out / "facts.json", {"command": command, "environment": environment()})
    print(write_page(options.out))
    return EXIT_DONE


def _inflated(path: Path) -> list[str]:
    """Databases: the meter counts their connections wrongly (bytes a thousand times those of the requests)."""
    servers = pd.read_csv(path, usecols=["col_service"])["col_service"].unique()
    return [str(name) for name in servers if str(name).endswith("-db")]


def stolen(run: MeteredRun) -> NDArray[np.bool_]:
    """Which samples hold a theft (T,), whatever its size."""
    out = np.zeros(len(run.end_s), dtype=np.bool_)
    for at in THEFTS_S:
        out[np.searchsorted(run.end_s, at + SEEN_AFTER_S)] = True
    return out


def benign(run: MeteredRun) -> NDArray[np.bool_]:
    """Samples to learn from (T,): users are there, nothing is stolen."""
    return (run.end_s > ARRIVAL_S) & ~stolen(run)


def _windows(matrix: ByteMatrix, name: str, part: Mapping[str, Any], plain: Mapping[str, Any]) -> pd.DataFrame:
    """One row a judged sample of every run: label, score, p-value, an alert at each level."""
    lengths = [matrix.window_s]
    spec = from_plain({**plain, "detector": {**part, "windows_s": lengths}}, check=False).detector
    everyone = range(len(matrix.runs))
    print(name, file=sys.stderr)

    def scores(train: Sequence[int], judged: int, mask: NDArray[np.bool_]) -> NDArray[np.float64]:
        detector = create(spec).fit(matrix.series([(i, benign(matrix.runs[i])) for i in train]))
        return detector.score(matrix.series([(judged, mask)])).score

    tables = []
    for held_out in everyone:
        others = [i for i in everyone if i != held_out]
        inner = [scores([i for i in others if i != j], j, benign(matrix.runs[j])) for j in others]
        calibration = Calibration(np.concatenate(inner), matrix.window_s)
        run = matrix.runs[held_out]
        judged = run.end_s > ARRIVAL_S
        score = scores(others, held_out, judged)
        levels = {f"alert_{level:g}": score > _threshold(calibration, level) for level in LEVELS}
        tables.append(pd.DataFrame({
            "detector": name, "run": run.number, "theft_bytes": run.theft_bytes, "end_s": run.end_s[judged],
            "stolen": stolen(run)[judged] & (run.theft_bytes > 0), "score": score, "p_value": calibration.p_values(score), **levels,
        }))  # fmt: skip
    return pd.concat(tables, ignore_index=True)


def _threshold(calibration: Calibration, level: float) -> float:
    return calibration.threshold(level * DAY_S / calibration.window_s).value


if __name__ == "__main__":
    sys.exit(main())
