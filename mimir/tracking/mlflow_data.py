"""Describe the edges of the three recordings as MLflow datasets: digest, schema, size, where they are."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mlflow.entities import DatasetInput

CONTEXTS = {"fit": "training", "calibrate": "validation", "test": "test"}
ARROW_TYPES = {"int64": "long", "int32": "integer", "int16": "integer", "double": "double", "bool": "boolean"}


def edge_datasets(edges: Path) -> list[DatasetInput]:
    """One dataset for each recording in edges.parquet; its digest depends on its own rows only."""
    import pyarrow.compute as pc
    import pyarrow.parquet as pq
    from mlflow.entities import Dataset, DatasetInput, InputTag

    table = pq.read_table(edges)
    columns = [{"type": ARROW_TYPES.get(str(f.type), "string"), "name": f.name, "required": True} for f in table.schema]
    found = []
    for recording, context in CONTEXTS.items():
        rows = table.filter(pc.field("recording") == recording)
        if not rows.num_rows:
            continue
        dataset = Dataset(
            name=f"edges-{recording}",
            digest=table_digest(rows),
            source_type="local",
            source=json.dumps({"uri": edges.as_uri()}),
            schema=json.dumps({"mlflow_colspec": columns}),
            profile=json.dumps({"num_rows": rows.num_rows, "num_elements": rows.num_rows * rows.num_columns}),
        )
        found.append(DatasetInput(dataset, [InputTag("mlflow.data.context", context)]))
    return found


def table_digest(table: Any) -> str:
    """Eight hex digits of the content of a pyarrow table, whatever its chunks and encoding."""
    whole = hashlib.sha256()
    for name, column in zip(table.column_names, table.columns, strict=True):
        whole.update(name.encode())
        values = column.combine_chunks()
        if str(values.type) in ("string", "large_string"):
            coded = values.dictionary_encode()
            whole.update("\0".join(coded.dictionary.to_pylist()).encode())
            values = coded.indices
        whole.update(values.to_numpy(zero_copy_only=False).tobytes())
    return whole.hexdigest()[:8]
