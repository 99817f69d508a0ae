"""The flows stage (`capture.flows=true`): captures → flows.parquet, per recording in the shared cache, then one file a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mimir.pipeline.cache import stage_key
from mimir.spec import Spec

FLOW_ROOMS = ("capture", "flows", "spec", "files.py", "jit.py", "units.py", "pipeline/flow_records.py")
NAME = "flows.parquet"


def flows_key(spec: Spec, inputs: Mapping[str, str]) -> str:
    """Key of the stage; `inputs` are digests of captures and entities."""
    how = spec.capture
    part = {
        "timeout_s": how.connection_timeout_s,
        "active_s": how.flow_active_timeout_s,
        "reorder_ms": how.reorder_ms,
    }
    return stage_key("flows", FLOW_ROOMS, part, inputs)


def flows_of(spec: Spec, recording: Path, entities: Path, folder: Path) -> dict[str, Any]:
    """Flow records of one recording into `folder`; facts for capture.json. Files that are flow records already give none."""
    from mimir.flows.foreign import flow_format

    how, captures = spec.capture, sorted((recording / "capture").iterdir())
    facts = {"idle_timeout_s": how.connection_timeout_s, "active_timeout_s": how.flow_active_timeout_s}
    if captures and flow_format(captures[0]):
        return {"rows": 0, **facts}
    from mimir.flows.records import export_flows

    late_ns = round(how.reorder_ms * 1e6)
    out = folder / NAME
    rows = export_flows(captures, entities, how.connection_timeout_s, out, how.flow_active_timeout_s, late_ns).flows
    return {"rows": rows, **facts}


def merge_flows(parts: Sequence[tuple[str, Path, float, float]], out: Path) -> int:
    """One file of several recordings: (name, file, start, end); times in UTC epoch s. Returns the number of records.

    A record belongs to the recording in whose span it begins; one capture may serve several recordings.
    """
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    from mimir.files import atomic
    from mimir.units import NS_PER_S

    tables = []
    for name, path, start, end in parts:
        table = pq.read_table(path)
        at = table["ts"].cast(pa.int64())
        inside = pc.and_(pc.greater_equal(at, round(start * NS_PER_S)), pc.less(at, round(end * NS_PER_S)))
        table = table.filter(inside)
        tables.append(table.add_column(0, "recording", pa.array([name] * table.num_rows, pa.string())))
    merged = pa.concat_tables(tables)
    with atomic(out) as temporary:
        pq.write_table(merged, temporary, compression="zstd")
    return int(merged.num_rows)
