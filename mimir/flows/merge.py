"""Edge files add up: several recordings in one file, or several shards of one recording."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from mimir.files import atomic
from mimir.flows.edges import COUNTERS
from mimir.flows.write import SCHEMA

SORT_COLUMNS = ("recording", "window_s", "window_start", "client", "server", "server_port", "proto", "view")


def merge_edges(parts: Mapping[str, tuple[Path, float, float]], out: Path) -> int:
    """One edges.parquet of several recordings: name → (file, start, end), times in UTC epoch seconds.

    A row belongs to the recording in whose span its window begins (or to the first one that its window reaches), and
    gets its name. Returns the number of rows.
    """
    tables = []
    for name, (path, start, end) in parts.items():
        earlier = max((e for _, s, e in parts.values() if s < start), default=-math.inf)
        table = pq.read_table(path, schema=SCHEMA)
        begins = table["window_start"]
        ends = pc.add(begins, table["window_s"].cast(pa.int64()))
        table = table.filter(
            pc.and_(pc.and_(pc.greater(ends, start), pc.less(begins, end)), pc.greater_equal(begins, earlier))
        )
        names = pa.array([name], pa.string()).take(pa.nulls(table.num_rows, pa.int32()).fill_null(0))
        tables.append(table.set_column(0, "recording", names))
    return _write(pa.concat_tables(tables), out)


def sum_edges(parts: Sequence[Path], out: Path) -> int:
    """Add up edge files of shards into `out`; returns the number of rows.

    The order of `parts` does not matter. A connection that a shard border cuts counts once in each shard.
    """
    table = pa.concat_tables([pq.read_table(part, schema=SCHEMA) for part in parts])
    merged = table.group_by(list(SORT_COLUMNS), use_threads=False).aggregate([(name, "sum") for name in COUNTERS])
    merged = merged.rename_columns([name.removesuffix("_sum") for name in merged.column_names])
    return _write(merged.select(SCHEMA.names), out)


def _write(table: pa.Table, out: Path) -> int:
    table = table.take(pc.sort_indices(table, [(name, "ascending") for name in SORT_COLUMNS]))
    with atomic(out) as temporary:
        pq.write_table(table.cast(SCHEMA).combine_chunks(), temporary, compression="zstd", row_group_size=1 << 18)
    return int(table.num_rows)
