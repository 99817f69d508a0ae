"""What is measured of recordings: tables of packets, residuals and verdicts, each from the cache or by a worker process.

Not in `__main__`, whose functions a spawned process cannot find.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

from mimir.errors import MimirError
from mimir.pipeline.cache import Result, cached, stage_key
from mimir.pipeline.fidelity.cases import BENIGN, Case
from mimir.pipeline.lifecycle import workers_of
from mimir.pipeline.recordings import Recorded

PACKET_ROOMS = ("capture", "flows", "pipeline/fidelity/packets.py")
VERDICT_ROOMS = (
    "detectors", "evaluation", "exfiltration/ledger.py", "flows", "graphs", "spec", "pipeline/fidelity/judgement.py", "pipeline/judging.py",
)  # fmt: skip
TABLES = ("blocks", "sizes", "lengths", "residuals", "verdicts")


def measured(
    wanted: Sequence[Case],
    recorded: Mapping[tuple[str, str], Mapping[str, Recorded]],
    cache: Path,
    workers: int,
    say: Callable[[str], None],
) -> dict[str, list[Path]]:
    """Files of each table, in a fixed order; MimirError when a process dies."""
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
            say(f"measured {number} of {len(futures)}: {', '.join(names)} ({what})")
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
