"""Application fields of the recordings: a shared stage per set of captures, and one table in the run directory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mimir.errors import Problem
from mimir.files import atomic, write_json
from mimir.pipeline.cache import Result, stage_key
from mimir.spec import Spec

if TYPE_CHECKING:
    from mimir.capture.application import Dissection

ROOMS = ("capture", "files.py", "jit.py", "units.py")
FILES = ("fields.parquet", "fields.json")


def dissection(spec: Spec) -> Dissection | None:
    """What the spec asks for; None for capture.dissector=none."""
    from mimir.capture.application import Dissection

    how = spec.capture
    if how.dissector == "none":
        return None
    return Dissection(how.dissector, tuple(how.dissector_fields), how.dissector_filter, how.dissector_packets)


def field_problems(spec: Spec) -> list[Problem]:
    """Is tshark there when it is needed, and does it know the fields and the filter?"""
    from mimir.capture.dissection import dissection_problems

    how = dissection(spec)
    if how is None and spec.detector.name == "http_fingerprint":
        return [Problem("detector", "http_fingerprint reads the heads of HTTP requests, and capture.dissector=none",
                        "own, tshark", "set capture.dissector=own and give a capture with payload: cluster=recorded cluster.capture=…")]  # fmt: skip
    return dissection_problems(how) if how else []


def fields_key(spec: Spec, captures: Sequence[str]) -> str | None:
    """Key of the stage: digests of the captures, the options and the version of tshark; None when nothing is asked."""
    from mimir.capture.tshark import tshark_version

    how = dissection(spec)
    if how is None:
        return None
    part: dict[str, Any] = {"dissector": how.dissector, "fields": how.fields}
    if how.dissector != "own":
        part |= {"filter": how.display_filter, "tshark": tshark_version()}
    if how.dissector == "pyshark":
        part["packets"] = how.packets
    return stage_key("fields", ROOMS, part, {f"capture {number}": digest for number, digest in enumerate(captures)})


def dissect_captures(spec: Spec, captures: Sequence[Path], folder: Path) -> dict[str, Any]:
    """Make the table of one recording; returns its rows and what was not read and why."""
    from mimir.capture.field_table import write_fields
    from mimir.flows.foreign import flow_format

    how = dissection(spec)
    assert how is not None
    notes = ["flow records of another tool hold no payload"] if captures and flow_format(captures[0]) else []
    rows = write_fields([] if notes else captures, how, folder / "fields.parquet")
    return {"rows": rows, "notes": [*notes, *(note.replace(f"{captures[0].parent}/", "") for note in how.notes)]}


def merge_fields(parts: Mapping[str, tuple[Result, float, float]], spec: Spec, path: Path) -> list[str]:
    """One table and one page of notes from recording → (its result, begin, end in UTC epoch s).

    A row belongs to the recording in whose span its packet lies: one capture may have been cut in three.
    """
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    from mimir.capture.field_table import field_schema

    fields, rows, latest = field_schema(spec.capture.dissector_fields), {}, max(end for _, _, end in parts.values())
    schema = pa.schema([("recording", pa.string()), *fields])
    with atomic(path / FILES[0]) as temporary, pq.ParquetWriter(temporary, schema, compression="zstd") as writer:
        for name, (result, begin, end) in parts.items():
            rows[name] = 0
            for batch in pq.ParquetFile(result.folder / FILES[0]).iter_batches():
                before = (pc.less_equal if end == latest else pc.less)(batch["ts"], end)
                inside = batch.filter(pc.and_(pc.greater_equal(batch["ts"], begin), before))
                names = pa.array([name] * inside.num_rows, pa.string())
                writer.write_batch(pa.RecordBatch.from_arrays([names, *inside.columns], schema=schema))
                rows[name] += inside.num_rows
    told = {name: {"rows": rows[name], "notes": result.facts["notes"]} for name, (result, _, _) in parts.items()}
    write_json(path / FILES[1], {"dissector": spec.capture.dissector, "recordings": told})
    return list(FILES)
