"""Application fields as a parquet file and as lines for people."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from mimir.capture.application import Dissection, FieldRow, application_fields
from mimir.capture.sources import short_names
from mimir.files import atomic

if TYPE_CHECKING:
    import pyarrow as pa

ROWS_AT_ONCE = 1 << 14
PLACES = FieldRow._fields[:-1]


def field_schema(fields: Sequence[str]) -> pa.Schema:
    """Columns of FieldRow, then one column of text a field under Wireshark's name; every value may be null."""
    import pyarrow as pa

    kinds = (pa.int32(), pa.int64(), pa.float64(), pa.string(), pa.string(), pa.string(), pa.int32(), pa.int32(),
             pa.int64(), pa.bool_())  # fmt: skip
    return pa.schema([*zip(PLACES, kinds, strict=True), *((name, pa.string()) for name in fields)])


def write_fields(files: Sequence[Path], how: Dissection, target: Path) -> int:
    """Write the table, in bounded memory; returns its rows. Raises as `application_fields`; then there is no file."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema, rows, total = field_schema(how.fields), application_fields(files, how), 0
    with atomic(target) as temporary, pq.ParquetWriter(temporary, schema, compression="zstd") as writer:
        while some := list(islice(rows, ROWS_AT_ONCE)):
            columns = list(zip(*((*row[:-1], *row.values) for row in some), strict=True))
            arrays = [pa.array(column, kind) for column, kind in zip(columns, schema.types, strict=True)]
            writer.write_table(pa.Table.from_arrays(arrays, schema=schema))
            total += len(some)
    return total


def field_lines(files: Sequence[Path], how: Dissection) -> Iterator[str]:
    """One line a packet: number (behind the name of its file, if there are several), time (UTC epoch s), both ends, and the fields it has."""
    names = short_names(files)
    for row in application_fields(files, how):
        number = f"{names[row.file - 1]}:{row.packet}" if len(files) > 1 else str(row.packet)
        ends = f"{_end(row.src, row.sport)} > {_end(row.dst, row.dport)} {row.proto or '-'}"
        found = "  ".join(f"{name}={value}" for name, value in zip(how.fields, row.values, strict=True) if value)
        yield f"{number}  {row.ts:.6f}  {ends}  {found}{'' if row.complete is not False else '  (cut)'}"


def _end(address: str | None, port: int | None) -> str:
    text = address or "-"
    return text if port is None else f"[{text}]:{port}" if ":" in text else f"{text}:{port}"
