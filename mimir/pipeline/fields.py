"""Application fields of the recordings: a shared stage per set of captures, and one table in the run directory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
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


def fields_key(spec: Spec, captures: Sequence[str], recording: Path) -> str | None:
    """Key of the stage: digests of the captures, the options and the version of tshark; None when nothing is asked.

    The span of the recording counts where only some packets are looked at.
    """
    from mimir.capture.tshark import tshark_version

    how = dissection(spec)
    if how is None:
        return None
    part: dict[str, Any] = {"dissector": how.dissector, "fields": how.fields}
    if how.dissector != "own":
        part |= {"filter": how.display_filter, "tshark": tshark_version()}
    if how.dissector == "pyshark":
        part |= {"packets": how.packets, "span": _span(recording)}
    return stage_key("fields", ROOMS, part, {f"capture {number}": digest for number, digest in enumerate(captures)})


def dissect_captures(spec: Spec, recording: Path, folder: Path) -> dict[str, Any]:
    """Make the table of one recording, whose packets are below `recording`/capture; returns its rows, the names of the
    files in the order of their numbers, and what was not read and why."""
    from mimir.capture import open_capture
    from mimir.capture.field_table import write_fields
    from mimir.capture.sources import short_names
    from mimir.flows.foreign import flow_format

    how = dissection(spec)
    assert how is not None
    found = sorted((recording / "capture").iterdir())
    if found and found[0].is_file() and flow_format(found[0]):
        rows = write_fields([], how, folder / FILES[0])
        return {"rows": rows, "files": [], "notes": ["flow records of another tool hold no payload"]}
    by_node = bool(found) and found[0].is_dir()
    captures = open_capture(recording / "capture" if by_node else found).paths
    if how.dissector == "pyshark":  # the limit counts packets of this recording, though one capture may hold three
        span = _span(recording)
        captures = [capture for capture in captures if len(captures) == 1 or _overlaps(capture, span)]
        how = replace(how, display_filter=within(span, how.display_filter))
    rows = write_fields(captures, how, folder / FILES[0])
    names = short_names([capture.resolve() for capture in captures])
    return {"rows": rows, "files": names, "notes": [_named(note, captures, names) for note in how.notes]}


def _span(recording: Path) -> tuple[float, float]:
    from mimir.pipeline.analysis import recording_spans

    (span,) = recording_spans(recording).values()
    return span


def _overlaps(capture: Path, span: tuple[float, float]) -> bool:
    """Has the file packets of a span? Reading it costs far less than starting pyshark."""
    from mimir.capture import open_capture

    opened = open_capture(capture)
    for _ in opened:
        pass
    first_ns, last_ns = opened.counts.first_ns, opened.counts.last_ns
    return first_ns is not None and last_ns is not None and first_ns / 1e9 <= span[1] and last_ns / 1e9 >= span[0]


def within(span: tuple[float, float], display_filter: str) -> str:
    """Display filter for packets of a span (UTC epoch s; its end up to the next microsecond) that pass another filter.

    >>> within((1.5, 3.25), "dns")
    'frame.time_epoch >= 1.500000 and frame.time_epoch <= 3.250001 and (dns)'
    """
    inside = f"frame.time_epoch >= {span[0]:.6f} and frame.time_epoch <= {span[1] + 1e-6:.6f}"
    return f"{inside} and ({display_filter})" if display_filter else inside


def _named(note: str, captures: Sequence[Path], names: Sequence[str]) -> str:
    """A note under the names the user gave the files."""
    for capture, name in zip(captures, names, strict=True):
        note = note.replace(str(capture), name)
    return note


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
    told = {name: {**result.facts, "rows": rows[name]} for name, (result, _, _) in parts.items()}
    write_json(path / FILES[1], {"dissector": spec.capture.dissector, "recordings": told})
    return list(FILES)
