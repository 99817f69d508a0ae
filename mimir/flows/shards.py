"""Shards: captures that have no connection in common are analysed side by side, and their edges add up."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mimir.engine import Engine
from mimir.flows.build import EdgeReport, build_edges
from mimir.flows.merge import sum_edges


@dataclass(frozen=True)
class _Shard:
    capture: Path
    entities: Path | None
    windows_s: tuple[int, ...]
    timeout_s: float
    reorder_ns: int
    out: Path
    idle_s: float | None = None


def build_shards(
    captures: Sequence[Path],
    entities: Path | None,
    windows_s: Sequence[int],
    timeout_s: float,
    out: Path,
    engine: Engine,
    reorder_ns: int = 0,
    idle_s: float | None = None,
) -> list[EdgeReport]:
    """Edges of each capture (a file, or a folder of rotated files or of nodes) by itself, added up in `out`.

    The result does not depend on the engine, on the number of its workers or on the order of `captures`. A connection
    that two captures share counts once in each, and copies are not looked for between them: give what belongs together
    as one folder. With `idle_s`, captures are still being written (see `build_edges`). Parts lie beside `out` while they are made, so workers on other machines need to see that folder.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{out.name}.", dir=out.parent) as folder:
        shards = [
            _Shard(
                capture, entities, tuple(windows_s), timeout_s, reorder_ns, Path(folder) / f"{number}.parquet", idle_s
            )
            for number, capture in enumerate(captures)
        ]
        reports = engine.map(_build, shards)
        sum_edges([shard.out for shard in shards], out)
    return reports


def _build(shard: _Shard) -> EdgeReport:
    return build_edges(
        [shard.capture],
        shard.entities,
        shard.windows_s,
        "",
        shard.timeout_s,
        shard.out,
        shard.reorder_ns,
        idle_s=shard.idle_s,
    )
